import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Page } from 'playwright-core';
import { paths } from '../../src/paths.ts';
import { type Visitor, visit } from '../support/chromium.ts';
import { failAtStep } from '../support/fail-at-step.ts';
import { createWorld, type World } from '../support/world.ts';
import { signIn, signInAtProvider, waitForProfile } from './support/sign-in.ts';

const step: { name: string | undefined } = { name: undefined };
const siblingServer = createServer((_req, res) => {
  res.writeHead(200, { 'content-type': 'text/html' }).end(appPage());
});
let sibling: string;
let world: World;
beforeAll(async () => {
  await new Promise<void>((resolve) => {
    siblingServer.listen(0, '127.0.0.1', resolve);
  });
  sibling = `http://localhost:${(siblingServer.address() as AddressInfo).port}`;
  world = await createWorld({
    env: {
      CORS_ORIGINS: sibling,
      SESSION_IDLE_SECONDS: '600',
      OAUTH2_SCOPES: 'openid profile read:profile read:data',
    },
    wrap: ({ tokenStore }) => ({ tokenStore: failAtStep(tokenStore, step) }),
  });
});
afterEach(() => {
  step.name = undefined;
});
afterAll(async () => {
  siblingServer.closeAllConnections();
  siblingServer.close();
  await world.close();
});

/** A page of an app, which imports the module as the documentation says, and lists the ends of its sessions. */
const appPage = () => `<!doctype html><title>App</title><link rel="icon" href="data:,">
<script type="module">
  import * as latchkey from '${world.origin}${paths.assets}/latchkey.js';
  globalThis.latchkey = latchkey;
  globalThis.ends = [];
  latchkey.onSessionEnd((reason) => ends.push(reason));
  globalThis.firstEnd = new Promise((resolve) => latchkey.onSessionEnd(resolve));
  globalThis.isReady = latchkey.session().then(() => true, () => true);
</script>`;

/** Opens the page in a new tab; `asked()` counts its requests to /auth/session. */
async function openApp({ context, openTab }: Visitor, origin = world.origin) {
  const url = `${origin}/app`;
  if (origin === world.origin)
    await context.route(url, (route) => route.fulfill({ contentType: 'text/html', body: appPage() }));
  const page = await openTab();
  let asked = 0;
  page.on('request', (request) => {
    if (request.url().endsWith('/auth/session') && request.method() === 'GET') asked += 1;
  });
  await page.goto(url);
  await page.waitForFunction('globalThis.isReady');
  await page.evaluate('isReady');
  return Object.assign(page, { asked: () => asked });
}

async function visitSignedIn(user = 'alice') {
  const visitor = await visit(world, {}, [sibling]);
  const page = await visitor.openTab();
  await signIn(page, user);
  return { ...visitor, page };
}

const readUser = (page: Page) => page.evaluate('latchkey.session().then((found) => found?.user.sub)');
const readEnds = (page: Page) => page.evaluate<readonly string[]>('ends');
const waitForEnd = (page: Page) => page.evaluate('firstEnd');
/** The status and code of the error, or the status of the response. */
const call = (page: Page, path: string) =>
  page.evaluate(
    `latchkey.api('${path}').then(({ status }) => [status], ({ status, code }) => [status, code])`,
  );

test('signing out in one tab ends the session in every tab, once', async () => {
  const alice = await visitSignedIn();
  const tabs = [await openApp(alice), await openApp(alice), await openApp(alice)] as const;
  expect(await readUser(tabs[0])).toBe('alice');
  const [leaving, alsoLeaving, staying] = tabs;
  await Promise.all([leaving.evaluate('latchkey.signOut()'), alsoLeaving.evaluate('latchkey.signOut()')]);
  await waitForEnd(staying);
  expect(await readEnds(staying)).toEqual(['signed_out']);
  expect(await readUser(staying)).toBeUndefined();
  await leaving.waitForURL((url) => !url.pathname.startsWith('/app'));
});

test('a sign-out by fetch is one, too', async () => {
  const alice = await visitSignedIn();
  const page = await openApp(alice);
  const other = await openApp(alice);
  await page.evaluate(
    `latchkey.api('/auth/logout', { method: 'POST', headers: { accept: 'application/json' } })`,
  );
  await Promise.all([waitForEnd(page), waitForEnd(other)]);
  expect([await readEnds(page), await readEnds(other)]).toEqual([['signed_out'], ['signed_out']]);
});

test('a page never acts for a user who signed in after it was opened, until it asks who is signed in', async () => {
  const visitor = await visitSignedIn();
  const page = await openApp(visitor);
  const other = await visitor.openTab(`${world.provider.issuer}/session/end`);
  await other.getByRole('button').first().click();
  await other.goto('/auth/login');
  await signInAtProvider(other, 'bob');
  await other.getByRole('button', { name: 'Allow' }).click();
  await waitForProfile(other, 'bob');
  await waitForEnd(page);
  expect(await readEnds(page)).toEqual(['another_user']);
  visitor.expectStatus(409);
  expect(await call(page, '/api/data')).toEqual([409, 'session_changed']);
  expect(await readUser(page)).toBe('bob');
  expect(await call(page, '/api/data')).toEqual([200]);
  expect(await readEnds(page)).toEqual(['another_user']);
});

test('a session that another browser has ended is noticed by a call, and reported once with its reason', async () => {
  const alice = await visitSignedIn();
  const page = await openApp(alice);
  const elsewhere = world.browser();
  await world.signIn(elsewhere);
  await elsewhere.fetch('/auth/sessions/end-others', { method: 'POST', headers: { origin: world.origin } });
  alice.expectStatus(401);
  const calls = await Promise.all([1, 2, 3].map(() => call(page, '/api/data')));
  expect(calls).toEqual(Array(3).fill([401, 'login_required']));
  await waitForEnd(page);
  await page.evaluate(`dispatchEvent(new Event('focus'))`);
  expect(await readEnds(page)).toEqual(['ended_by_user']);
});

test('all callers share one request, and neither focus nor another tab of the same user causes one', async () => {
  const alice = await visitSignedIn();
  const page = await openApp(alice);
  await page.evaluate('Promise.all(Array.from({ length: 20 }, () => latchkey.session()))');
  for (let times = 0; times < 5; times += 1) await page.evaluate(`dispatchEvent(new Event('focus'))`);
  await openApp(alice);
  await readUser(page);
  expect(page.asked()).toBe(1);
});

test('nothing ends while Latchkey cannot say who is signed in', async () => {
  const alice = await visitSignedIn();
  const page = await openApp(alice);
  step.name = 'get';
  alice.expectStatus(503);
  const channel = `new BroadcastChannel('latchkey').postMessage('nobody')`;
  const failed = page.waitForResponse((each) => each.status() === 503);
  await page.evaluate(channel);
  await failed;
  step.name = undefined;
  expect([await readUser(page), await readEnds(page)]).toEqual(['alice', []]);
});

test('a sign-out that another tab reports while the network is down is noticed as soon as it is back', async () => {
  const alice = await visitSignedIn();
  const page = await openApp(alice);
  await alice.page.close(); // it would ask before it knows that it is offline
  await alice.context.setOffline(true);
  await page.waitForFunction('!navigator.onLine');
  await alice.context.clearCookies({ name: /^latchkey-\d+$/ });
  await page.evaluate(`new Promise((resolve) => {
    new BroadcastChannel('latchkey').onmessage = resolve;
    new BroadcastChannel('latchkey').postMessage('nobody');
  })`);
  expect(await readEnds(page)).toEqual([]);
  await alice.context.setOffline(false);
  await waitForEnd(page);
  expect([await readEnds(page), page.asked()]).toEqual([['signed_out'], 2]);
});

test('the session expires on the screen, even if the clock of the browser is wrong', async () => {
  const alice = await visitSignedIn();
  await alice.context.clock.install({ time: Date.now() - 86_400_000 });
  const page = await openApp(alice);
  const expiresAt = await page.evaluate<number>(
    'latchkey.session().then((found) => +found.expiresAt - Date.now())',
  );
  expect(Math.abs(expiresAt - 600_000)).toBeLessThan(60_000);
  await alice.context.clearCookies({ name: /^latchkey-\d+$/ }); // as the browser does at that time
  await alice.context.clock.fastForward(700_000); // as after sleep: each timer runs at most once
  await waitForEnd(page);
  expect(await readEnds(page)).toEqual(['expired']);
});

test('an app on a sibling origin imports the module from Latchkey, and has the session', async () => {
  const alice = await visitSignedIn();
  const page = await openApp(alice, sibling);
  expect(await readUser(page)).toBe('alice');
  expect(await call(page, '/api/data')).toEqual([200]);
  alice.expectStatus(401);
  await alice.context.clearCookies({ name: /^latchkey-\d+$/ });
  const error = await page.evaluate(
    `latchkey.api('/api/data').catch(({ code, loginUrl }) => ({ code, loginUrl }))`,
  );
  expect(error).toEqual({
    code: 'login_required',
    loginUrl: expect.stringContaining(`${world.origin}/auth/login?`),
  });
  await waitForEnd(page);
  await page.evaluate('latchkey.signIn()');
  await page.waitForURL(`${sibling}/app`); // still signed in at the provider
  await page.waitForFunction('globalThis.isReady');
  expect(await readUser(page)).toBe('alice');
});
