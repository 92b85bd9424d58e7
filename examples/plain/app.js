// On a sibling origin, import it from the address of Latchkey: 'http://localhost:3000/auth/assets/latchkey.js'.
import { ApiError, api, onSessionEnd, session, signIn, signOut } from '/auth/assets/latchkey.js';

const find = (id) => document.getElementById(id);

function show(text, isSignedIn) {
  find('state').textContent = text;
  find('sign-in').hidden = isSignedIn;
  find('load').hidden = find('sign-out').hidden = !isSignedIn;
  if (!isSignedIn) find('items').replaceChildren();
}

async function load() {
  try {
    const { items } = await (await api('/api/data')).json();
    find('items').replaceChildren(
      ...items.map(({ title }) => Object.assign(document.createElement('li'), { textContent: title })),
    );
  } catch (error) {
    find('state').textContent = error instanceof ApiError ? error.message : 'The network is unavailable.';
  }
}

find('sign-in').addEventListener('click', () => signIn());
find('sign-out').addEventListener('click', signOut);
find('load').addEventListener('click', load);
onSessionEnd((reason) => show(`You have been signed out (${reason}).`, false));
session().then(
  (found) => show(found ? `Signed in as ${found.user.name}.` : 'Please sign in.', found !== undefined),
  () => show('Latchkey cannot be reached. Please reload the page.', false),
);
