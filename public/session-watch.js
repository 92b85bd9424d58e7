// Notices, while a page is open, that its session has ended or is somebody else's by now, and says so.

const place = document.querySelector('[data-watch]');
const mark = document.querySelector('meta[name="latchkey-session"]')?.content;
const isSignedIn = place !== null;
const channel = new BroadcastChannel('latchkey');

/** Says on whose behalf a call is made: the server refuses it when somebody else is signed in by now. */
export const sessionHeaders = mark ? { 'Latchkey-Session': mark } : {};

/** Starts what every page does about its session. */
export function watchSession() {
  addEventListener('pageshow', (event) => {
    if (event.persisted) location.reload(); // out of the back/forward cache, from before whatever happened since
  });
  if (isSignedIn) {
    addEventListener('focus', askSession);
    document.addEventListener('visibilitychange', () => document.hidden || askSession());
    channel.addEventListener('message', ({ data }) => {
      if (data !== mark || said) askSession();
    });
  }
  channel.postMessage(isSignedIn ? mark : 'nobody'); // pages that think otherwise ask
  let isLeaving = false;
  document.addEventListener('submit', (event) => {
    isLeaving ||= !event.defaultPrevented && event.target.action.includes('/auth/logout');
  });
  // Only when the answer has come: until then the session stands.
  addEventListener('pagehide', () => isLeaving && channel.postMessage('nobody'));
}

let asking;
/** Asks who is signed in. What comes of it is said here, and told to the page as the event `session`. */
export function askSession() {
  asking ??= ask().finally(() => {
    asking = undefined;
  });
  return asking;
}

async function ask() {
  const answer = await fetch('/auth/session', { headers: { accept: 'application/json' } }).catch(
    () => undefined,
  );
  if (answer?.ok) sessionIs(await answer.json()); // else nobody knows, which does not mean that it has ended
}

/** Takes what the server has told of the session. */
export function sessionIs(session) {
  if (!session.authenticated) say('ended');
  else if (mark && session.session_mark && session.session_mark !== mark) say('other');
  else {
    say(undefined);
    document.dispatchEvent(new CustomEvent('session', { detail: session }));
  }
}

/** The session was changed here: other pages ask what it is now. */
export function tellOthers() {
  channel.postMessage('changed');
}

/** Takes the code of a failed call: it may be the first to know. */
export function noticeFailure(code) {
  if (code === 'session_changed') say('other');
  else if (code === 'login_required') askSession();
  else return;
  tellOthers();
}

let said;
function say(what) {
  if (said === what || said === 'other') return; // what somebody else's page shows is not made right again
  said = what;
  place.replaceChildren();
  if (what === undefined) return;
  place.append(document.querySelector(`[data-watch-says="${what}"]`).content.cloneNode(true));
  const back = new URLSearchParams({ return_to: location.pathname + location.search });
  for (const link of place.querySelectorAll('a[href^="/auth/login"]')) link.href = `/auth/login?${back}`;
  if (what === 'other') for (const each of document.querySelectorAll('form button')) each.disabled = true;
}
