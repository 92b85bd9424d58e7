import { storeUnavailable } from '../../src/errors.ts';
import type { Browser } from '../support/browser.ts';
import { cookieNames } from '../support/browser.ts';
import { createWorld, type World } from '../support/world.ts';

let world: World;
let browser: Browser;
let reads = 0;
let isStoreLost = false;
beforeAll(async () => {
  world = await createWorld({
    store: 'memory',
    env: {
      OAUTH2_SCOPES: 'openid profile',
      OAUTH2_SCOPE_LABELS: '{"read:data":"See your documents"}',
      APP_NAME: 'Rose Garden',
      SUPPORT_URL: 'https://help.example/',
    },
    wrap: ({ tokenStore }) => {
      const lose = () => Promise.reject(storeUnavailable(new Error('lost')));
      const get: typeof tokenStore.get = (...args) => {
        reads += 1;
        return isStoreLost ? lose() : tokenStore.get(...args);
      };
      const endReason: typeof tokenStore.endReason = (id) =>
        isStoreLost ? lose() : tokenStore.endReason(id);
      return { tokenStore: { ...tokenStore, get, endReason } };
    },
    own: { pages: [{ path: '/orders', view: 'home', requiresLogin: true }] },
  });
});
afterAll(() => world.close());
beforeEach(() => {
  isStoreLost = false;
  browser = world.browser();
});

const target = async (path: string, options = {}) =>
  (await browser.step(path, options)).headers.location?.replace(world.origin, '');
const signOut = () => browser.go('/auth/logout', { method: 'POST', from: `${world.origin}/` });
const loseSession = () => browser.jar.store.removeCookie('localhost', '/', cookieNames(world.origin).session);

test.each(['/profile', '/orders'])('%s leads a visitor to the provider at once, each time', async (path) => {
  const expected = `/auth/login?return_to=${encodeURIComponent(path)}`;
  expect(await target(path)).toBe(expected);
  await browser.step(expected); // and Back, or a second tab
  expect(await target(path)).toBe(expected);
  const { headers } = await browser.step(path);
  expect(headers).toMatchObject({ 'cache-control': 'no-store', vary: expect.stringContaining('Cookie') });
});

test.each([
  ['a script', { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }],
  ['an image', { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }],
  ['a prefetch', { 'sec-purpose': 'prefetch;prerender' }],
])('%s of a page that needs a user starts no login', async (_what, headers) => {
  for (const path of ['/profile', '/orders'])
    expect((await browser.step(path, { headers })).status).toBe(401);
  expect(await browser.loginCookie()).toBeUndefined();
});

test('many deep links that another site opens start no login', async () => {
  for (let count = 0; count < 3; count += 1) {
    const page = await browser.go('/profile', { from: 'https://evil.example/' });
    expect([page.status, new URL(page.url).pathname]).toEqual([200, '/auth/sign-in']);
  }
  expect(await browser.loginCookie()).toBeUndefined();
});

test('after a sign-out, a deep link needs a click, until the user begins to sign in again', async () => {
  await world.signIn(browser);
  await signOut();
  expect((await browser.step('/auth/signed-out')).text).toContain('class="button" href="/auth/login"');
  await world.clock.advance(3_600);
  const page = await browser.go('/profile?a=1');
  expect(page.url).toBe(`${world.origin}/auth/sign-in?return_to=%2Fprofile%3Fa%3D1`);
  expect(page.text).toMatch(/role="status">You&#39;ve signed out/);
  const stored = (await browser.jar.getCookies(world.origin)).find(({ key }) => key.endsWith('-login'));
  expect(stored?.expires).toBe('Infinity'); // of the browser's session
  await browser.step('/auth/login?return_to=%2Fprofile');
  expect(await target('/profile')).toBe('/auth/login?return_to=%2Fprofile');
});

test('a browser that does not keep the session is not sent in a circle, and learns why', async () => {
  await world.signIn(browser);
  await loseSession();
  const page = await browser.go('/orders');
  expect(page.text).toMatch(/role="status">You signed in a moment ago, but this browser/);
  await world.clock.advance(55); // a slow redirect
  expect(await target('/orders')).toBe('/auth/sign-in?return_to=%2Forders');
  await world.clock.advance(6);
  expect(await target('/orders')).toBe('/auth/login?return_to=%2Forders');
});

test('a session whose record is lost right after the login does not send the browser in a circle', async () => {
  await world.signIn(browser);
  await world.latchkey.tokens.discard((await browser.sessionCookie())!.slice(4).split('.')[0]!);
  expect((await browser.go('/orders')).url).toContain('/auth/sign-in?');
});

test('the sign-in page needs no store', async () => {
  await world.signIn(browser);
  isStoreLost = true;
  const { status, text } = await browser.step('/auth/sign-in?return_to=%2Forders');
  expect([status, text]).toEqual([200, expect.stringContaining('href="/auth/login?return_to=%2Forders"')]);
});

test('the sign-in page sends on a user who is signed in, and leaves the message to the next page', async () => {
  await world.signIn(browser, 'alice', '/auth/login?return_to=/healthz');
  expect(await target('/auth/sign-in?return_to=%2Forders')).toBe('/orders');
  expect((await browser.step('/orders')).text).toContain('You&#39;re signed in.');
});

test('who ended the session comes before everything else', async () => {
  await world.signIn(browser);
  await world.latchkey.tokens.endAllOf({ sub: 'alice' }, 'administrator');
  const { text } = await browser.go('/profile');
  expect(text).toContain('An administrator of Rose Garden signed you out.');
  expect(text).toContain('href="https://help.example/"');
});

test('the home page says who ended the session, until the user signs in again', async () => {
  const notice = /role="status">An administrator of Rose Garden signed you out\.[^<]*<a href="https:\/\/help/;
  await world.signIn(browser);
  expect((await browser.go('/')).text).not.toMatch(notice);
  await world.latchkey.tokens.endAllOf({ sub: 'alice' }, 'administrator');
  expect((await browser.go('/')).text).toMatch(notice);
  expect((await browser.go('/')).text).toMatch(notice);
  await world.signIn(browser);
  expect((await browser.go('/')).text).not.toMatch(notice);
});

test('a provider that refuses at once leads to a page, not in a circle', async () => {
  const login = await browser.step('/auth/login?return_to=%2Fprofile');
  const state = new URL(login.headers.location!).searchParams.get('state')!;
  const refused = await browser.go(
    `/auth/callback?${new URLSearchParams({ state, error: 'access_denied' })}`,
  );
  expect(new URL(refused.url).host).toBe(new URL(world.origin).host);
  expect(refused.text).toContain('href="/auth/login?return_to=%2Fprofile"');
});

test('a link on another site that requests a permission says which before the provider does', async () => {
  await world.signIn(browser);
  const link = '/auth/login?scope=profile%20read%3Adata%20admin%3Aall&return_to=%2F';
  const { text } = await browser.go(link, { from: 'https://evil.example/' });
  expect(text).toContain('Rose Garden is asking for more access');
  expect(text).toContain('<ul><li>See your documents</li></ul>'); // neither what the user has granted, nor what nobody uses
});

test('the header offers to sign in on every page that knows that nobody is signed in', async () => {
  const inHeader = async (path: string) =>
    /class="sign-in-link" href="([^"]*)"/.exec((await browser.step(path)).text)?.[1];
  for (const path of ['/', '/unknown', '/auth/signed-out'])
    expect([path, await inHeader(path)]).toEqual([path, '/auth/login']);
  await world.signIn(browser);
  for (const path of ['/', '/unknown']) expect([path, await inHeader(path)]).toEqual([path, undefined]);
});

describe('error pages', () => {
  const account = /class="profile-link" href="\/profile"/;

  test('show who is signed in, with the way out', async () => {
    await world.signIn(browser);
    for (const path of ['/unknown', '/api/unknown', '/auth/callback?code=x&state=forged']) {
      const { text } = await browser.go(path);
      expect(text).toMatch(account);
      expect(text).toMatch(/<form method="post" action="\/auth\/logout\?session=[^"]+"/);
      expect(text).not.toMatch(/class="sign-in-link"/);
    }
    const refused = await browser.go('/auth/callback?error=access_denied');
    expect(refused.text).toMatch(account);
    expect(refused.text).toContain('you&#39;re still signed in');
    await loseSession();
    expect((await browser.go('/unknown')).text).not.toMatch(account);
    expect((await browser.go('/auth/callback?error=access_denied')).text).toContain('You are not signed in');
  });

  test('read the session once, for a script not at all, and after a failed read not again', async () => {
    await world.signIn(browser);
    const readsFor = async (path: string, headers = {}) => {
      const before = reads;
      const { status } = await browser.step(path, { headers });
      return [status, reads - before];
    };
    expect(await readsFor('/unknown')).toEqual([404, 1]);
    expect(await readsFor('/api/data')).toEqual([403, 1]);
    expect(await readsFor('/unknown', { 'sec-fetch-mode': 'cors' })).toEqual([404, 0]);
    isStoreLost = true;
    expect(await readsFor('/profile')).toEqual([503, 1]);
    expect(await readsFor('/unknown')).toEqual([404, 1]);
  });

  test('tell an id only where somebody can do something about it, with a link to whom', async () => {
    expect((await browser.go('/unknown')).text).not.toMatch(/<code>|help\.example/);
    const { text, headers } = await browser.go('/auth/callback?code=x&state=forged');
    expect(text).toContain(`<code>${headers['x-request-id']}</code> <a href="https://help.example/">`);
    expect(text).toContain('<a class="button" href="/auth/login">Sign in</a>'); // never was, so not "again"
    expect(text).toContain('<meta name="latchkey-address" content="/auth/sign-in">');
  });

  test('name a missing permission in words', async () => {
    await world.signIn(browser);
    const { text } = await browser.go('/api/data', { from: `${world.origin}/` });
    expect(text).toContain('<li>See your documents</li>');
  });
});
