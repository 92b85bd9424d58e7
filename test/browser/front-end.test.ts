import { join } from 'node:path';
import { paths } from '../../src/paths.ts';
import { root } from '../support/build.ts';
import { visit } from '../support/chromium.ts';
import { createFrontEndFolder, type FrontEndFolder } from '../support/front-end-folder.ts';
import { createWorld, type World } from '../support/world.ts';
import { signInAtProvider } from './support/sign-in.ts';

const script = 'assets/index-BxY3_k9a.js';
/** An app as a bundler writes it, with a client-side route: the heading is the path. */
const app = {
  'index.html': `<!doctype html>
<html lang="en">
  <head>
    <title>App</title>
    <link rel="icon" href="data:,">
    <script type="module" crossorigin src="/${script}"></script>
  </head>
  <body>
    <h1></h1>
    <p role="status"></p>
    <button type="button" id="load">Load</button>
    <button type="button" id="sign-out">Sign out</button>
  </body>
</html>`,
  [script]: `import { api, session, signOut } from '${paths.assets}/latchkey.js';
const find = (selector) => document.querySelector(selector);
const show = (text) => { find('p').textContent = text; };
find('h1').textContent = location.pathname + location.search;
find('#load').onclick = async () => show((await (await api('/api/data')).json()).items.length + ' items');
find('#sign-out').onclick = () => signOut();
session().then((found) => show(found ? 'Signed in as ' + found.user.sub : 'Signed out'));`,
};

const scopes = { OAUTH2_SCOPES: 'openid profile read:profile read:data' };

let folder: FrontEndFolder;
let world: World;
beforeAll(() => {
  folder = createFrontEndFolder(app);
});
afterEach(() => world.close());
afterAll(() => folder.remove());

test('a front end in a folder: a deep link leads through the sign-in back to it; it calls the API and signs out', async () => {
  world = await createWorld({ env: { ...scopes, APP_DIR: folder.path, APP_REQUIRES_LOGIN: 'true' } });
  const { context, openTab } = await visit(world);
  const page = await openTab('/orders/42?view=all');
  await signInAtProvider(page);
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.getByText('Signed in as alice').waitFor();
  expect(page.url()).toBe(`${world.origin}/orders/42?view=all`);
  await page.getByRole('heading', { name: '/orders/42?view=all' }).waitFor();
  await page.getByRole('button', { name: 'Load' }).click();
  await page.getByText(/^\d+ items$/).waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL(`${world.provider.issuer}/session/end?**`); // it asks whether to sign out there too
  await page.getByRole('button').first().click();
  await page.getByRole('heading', { name: 'You are signed out' }).waitFor();
  expect(await (await context.request.get(paths.session)).json()).toEqual({ authenticated: false });
});

test('examples/plain, served by Latchkey: signs in, calls the API, and shows that the session has ended elsewhere', async () => {
  world = await createWorld({ env: { ...scopes, APP_DIR: join(root, 'examples/plain') } });
  const { openTab } = await visit(world);
  const page = await openTab('/');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await signInAtProvider(page);
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.getByText('Signed in as').waitFor();
  await page.getByRole('button', { name: 'Load the items' }).click();
  await page.getByRole('listitem').first().waitFor();
  const other = await openTab('/');
  await other.getByRole('button', { name: 'Sign out' }).click();
  await page.getByText('You have been signed out (signed_out).').waitFor();
  expect(await page.getByRole('listitem').count()).toBe(0);
});
