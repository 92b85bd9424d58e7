import { once } from 'node:events';
import { WebSocket } from 'ws';
import { storeUnavailable } from '../../src/errors.ts';
import { paths } from '../../src/paths.ts';
import { sendRequest } from '../hostile/support/raw-http.ts';
import { type FrontEndApp, startFrontEndApp } from '../support/front-end-app.ts';
import { createFrontEndFolder, type FrontEndFolder } from '../support/front-end-folder.ts';
import { createWorld, type World } from '../support/world.ts';

const page = { accept: 'text/html,*/*;q=0.8' };

let folder: FrontEndFolder;
let world: World;
let storeFails = false;
beforeAll(async () => {
  folder = createFrontEndFolder({
    'index.html': '<title>The app</title>',
    'main.js': 'secret()',
    'app-BxY3_k9a.js': 'secret()',
  });
  world = await createWorld({
    store: 'memory',
    env: { APP_DIR: folder.path, APP_REQUIRES_LOGIN: 'true' },
    wrap: ({ tokenStore }) => ({
      tokenStore: {
        ...tokenStore,
        get: (...args) =>
          storeFails ? Promise.reject(storeUnavailable(new Error('no store'))) : tokenStore.get(...args),
      },
    }),
  });
});
afterAll(async () => {
  await world.close();
  folder.remove();
});
beforeEach(() => {
  storeFails = false;
});

test('a visitor signs in, and returns to exactly where they were', async () => {
  const browser = world.browser();
  const deepLink = '/orders/4%2F2?tab=a%20b&x=%C3%BC&return_to=//evil';
  const first = await browser.step(deepLink);
  expect([first.status, first.headers['cache-control']]).toEqual([303, 'no-store']);
  expect(first.headers.location).toBe(
    `${world.origin}/auth/login?${new URLSearchParams({ return_to: deepLink })}`,
  );
  const signedIn = await world.signIn(browser, 'alice', deepLink);
  expect(signedIn).toMatchObject({
    url: world.origin + deepLink,
    status: 200,
    text: '<title>The app</title>',
  });
  expect(await browser.fetch('/main.js')).toMatchObject({
    status: 200,
    headers: { 'cache-control': 'private, no-cache' },
  });
  expect((await browser.fetch('/app-BxY3_k9a.js')).headers).toMatchObject({
    'cache-control': 'private, max-age=31536000, immutable',
    vary: expect.stringContaining('Cookie'),
  });
});

test.each(['/', '/main.js', '/app-BxY3_k9a.js', '/unknown', '/.env'])(
  'scripts get 401 for %s',
  async (path) => {
    const response = await world.browser().fetch(path);
    expect([response.status, response.json()]).toMatchObject([
      401,
      { error: 'login_required', login_url: expect.any(String) },
    ]);
  },
);

test('a form without a session is not lost in a redirect', async () => {
  const { status } = await world.browser().step('/orders', { method: 'POST', from: `${world.origin}/` });
  expect(status).toBe(401);
});

test('the pages of Latchkey need no session', async () => {
  for (const path of ['/auth/session', '/healthz'])
    expect((await sendRequest(world.origin, 'GET', path)).status).toBe(200);
});

test('an expired session leads to the provider, and from there back', async () => {
  const browser = world.browser();
  await world.signIn(browser);
  await world.clock.advance(86_401);
  const { headers } = await browser.step('/orders');
  expect(headers.location).toBe(`${world.origin}${paths.login}?return_to=%2Forders`);
});

test('while the store is unavailable, nobody is sent to sign in', async () => {
  const browser = world.browser();
  await world.signIn(browser);
  storeFails = true;
  expect((await browser.step('/orders')).status).toBe(503);
  expect((await browser.fetch('/main.js')).status).toBe(503);
  storeFails = false;
  expect((await browser.step('/orders')).status).toBe(200);
});

test('after a sign-out, the front end is closed, and its address leads to the sign-in page', async () => {
  const browser = world.browser();
  await world.signIn(browser);
  await browser.go('/auth/logout', { method: 'POST', from: `${world.origin}/` });
  expect((await browser.step('/')).headers.location).toBe(`${world.origin}${paths.signIn}?return_to=%2F`);
});

describe('an app', () => {
  let app: FrontEndApp;
  let other: World;
  beforeAll(async () => {
    app = await startFrontEndApp();
    other = await createWorld({ store: 'memory', env: { APP_URL: app.origin, APP_REQUIRES_LOGIN: 'true' } });
  });
  afterAll(async () => {
    await other.close();
    await app.stop();
  });

  test('receives nothing from visitors', async () => {
    expect((await sendRequest(other.origin, 'GET', '/orders', page)).status).toBe(303);
    expect((await sendRequest(other.origin, 'POST', '/orders')).status).toBe(401);
    const socket = new WebSocket(other.origin.replace('http', 'ws'), { headers: { origin: other.origin } });
    expect(String((await once(socket, 'error'))[0])).toContain('401');
    expect(app.requests).toEqual([]);
  });

  test('cannot make its pages public, and its WebSockets end with the session', async () => {
    const browser = other.browser();
    await other.signIn(browser);
    app.respondWith((_req, res) =>
      res
        .writeHead(200, {
          'cache-control': 'public, s-maxage=60, max-age=5',
          'cdn-cache-control': 'max-age=60',
        })
        .end(),
    );
    const { headers } = await browser.step('/orders');
    expect(headers).toMatchObject({ 'cache-control': 'private, max-age=5', vary: 'Cookie' });
    expect(headers['cdn-cache-control']).toBeUndefined();
    const cookie = await browser.jar.getCookieString(other.origin);
    const socket = new WebSocket(other.origin.replace('http', 'ws'), {
      headers: { origin: other.origin, cookie },
    });
    await once(socket, 'message');
    const closed = once(socket, 'close');
    await browser.go('/auth/logout', { method: 'POST', from: `${other.origin}/` });
    expect((await closed)[0]).toBe(1008);
  });
});
