import { setTimeout as delay } from 'node:timers/promises';
import { readSession } from '../hostile/support/logged-in.ts';
import { Browser, type Page } from '../support/browser.ts';
import { type Latchkey, startLatchkey } from '../support/latchkey.ts';
import { createWorld, type World } from '../support/world.ts';

const urlencoded = 'application/x-www-form-urlencoded';

interface SessionInfo {
  readonly session_mark: string;
  readonly user: { readonly sub: string };
}

/** A browser at another origin, with a copy of the cookies of `browser`. */
async function withCookiesOf(browser: Browser, origin: string, proxyTo?: string): Promise<Browser> {
  const proxy = proxyTo === undefined ? undefined : { to: proxyTo, headers: {} };
  return new Browser(origin, await browser.jar.clone(), proxy);
}

const post = (browser: Browser, path: string) => browser.fetch(path, { method: 'POST' });
const isSignedIn = async (browser: Browser) => (await browser.fetch('/api/profile')).status === 200;
const pendingRevocations = async ({ deps }: Latchkey) =>
  Number(/^latchkey_revocations_pending (\d+)/m.exec(await deps.metrics.registry.metrics())![1]);

/** Every way to use the session in the cookies of `browser`: all find nobody signed in. */
async function expectNotSignedIn(browser: Browser): Promise<void> {
  expect((await browser.fetch('/auth/session')).json()).toEqual({ authenticated: false });
  expect((await browser.fetch('/api/profile')).status).toBe(401);
  expect((await post(browser, '/api/data')).status).toBe(401);
  expect((await post(browser, '/auth/refresh')).status).toBe(401);
  expect((await browser.step('/profile')).status).not.toBe(200);
  const signOut = await browser.step('/auth/logout', { method: 'POST', from: browser.origin });
  expect(signOut.status).toBe(200); // a page that goes on to this app's own provider
  expect(signOut.text).not.toContain('hint');
}

/** Collects the access tokens that the API of `world` receives. */
function collectTokens(world: World): string[] {
  const received: string[] = [];
  world.api.server.prependListener('request', (req) => {
    received.push(String(req.headers.authorization).replace('Bearer ', ''));
  });
  return received;
}

/** Forgets the requests that providers and APIs have received so far. */
function forgetRequests(...worlds: readonly World[]): void {
  for (const { providerFaults, apiFaults } of worlds)
    for (const each of [providerFaults, apiFaults]) each.requests.length = 0;
}

const requestsOf = (...worlds: readonly World[]) =>
  worlds.flatMap(({ providerFaults, apiFaults }) => [...providerFaults.requests, ...apiFaults.requests]);

describe('two apps with different providers that share a Redis and a SESSION_SECRET', () => {
  let a: World;
  let b: World;
  let browser: Browser;
  beforeAll(async () => {
    const env = { OAUTH2_SCOPES: 'openid profile read:profile read:data write:data' };
    [a, b] = await Promise.all([createWorld({ env }), createWorld({ env })]);
  });
  afterAll(() => Promise.all([a.close(), b.close()]));
  beforeEach(async () => {
    browser = a.browser();
    await a.signIn(browser);
    forgetRequests(a, b);
  });
  afterEach(() => a.providerFaults.set(undefined));

  test('a session of one app is not signed in at the other, which sends nothing and does not end it', async () => {
    await expectNotSignedIn(await withCookiesOf(browser, b.origin));
    expect(requestsOf(a, b)).toEqual([]);
    expect(await isSignedIn(browser)).toBe(true);
  });

  test('the record of one app is absent in the token store of the other, which can end only its own', async () => {
    const { id } = await readSession(browser);
    const { tokenStore } = b.latchkey.deps;
    expect(await tokenStore.get(id)).toBeUndefined();
    expect(await tokenStore.take(id, { kind: 'signed_out' })).toBeUndefined();
    expect(await isSignedIn(browser)).toBe(true);
    expect((await post(browser, '/auth/refresh')).status).toBe(303);
  });

  test('each API and each provider receives only the tokens of its own app, also for users with the same sub', async () => {
    const received = [collectTokens(a), collectTokens(b)];
    const refused: unknown[] = [];
    for (const { provider } of [a, b])
      provider.provider.on('grant.error', (_ctx, error) => refused.push(error));
    const atB = await withCookiesOf(browser, b.origin); // signs in over a cookie that is not its own
    await b.signIn(atB);
    const infoOf = async (each: Browser) => (await each.fetch('/auth/session')).json() as SessionInfo;
    const [infoAtA, infoAtB] = [await infoOf(browser), await infoOf(atB)];
    expect([infoAtA.user.sub, infoAtB.user.sub]).toEqual(['alice', 'alice']);
    expect(infoAtA.session_mark).not.toBe(infoAtB.session_mark);
    const useBoth = async () => {
      for (const each of [browser, atB]) expect(await isSignedIn(each)).toBe(true);
    };
    await useBoth();
    for (const each of [a, b]) await each.clock.advance(299); // both have to refresh
    await useBoth();
    for (const [index, { issued }] of [a, b].entries()) {
      expect(new Set(received[index]).size).toBe(2);
      expect(issued.access).toEqual(expect.arrayContaining(received[index]!));
    }
    expect(refused).toEqual([]);
  });

  test('a login that was started at one app cannot be completed at the other, which does not redeem the code', async () => {
    const visitor = a.browser();
    const until = (url: string) => url.startsWith(`${a.origin}/auth/callback`);
    const login = await visitor.go('/auth/login');
    let page: Page = await visitor.submit(
      login,
      { login: 'bob', password: 'any' },
      { action: '/login', until },
    );
    if (!until(page.url))
      page = await visitor.submit(page, { decision: 'allow' }, { action: '/consent', until });
    forgetRequests(a, b);
    const atB = await withCookiesOf(visitor, b.origin);
    const refused = await atB.step(page.url.replace(a.origin, b.origin), { from: a.provider.issuer });
    expect(refused.status).toBe(400);
    expect(requestsOf(a, b)).toEqual([]);
    expect((await visitor.step(page.url, { from: a.provider.issuer })).status).toBe(303);
    expect(await isSignedIn(visitor)).toBe(true);
  });

  test('a form saved at one app is not shown at the other to the user with the same sub', async () => {
    await a.clock.advance(604_800);
    const rejected = await browser.step('/api/data', {
      method: 'POST',
      from: `${a.origin}/`,
      headers: { 'content-type': urlencoded },
      body: 'title=mine',
    });
    const resumePath = /\/auth\/resume\/[\w-]{43}/.exec(decodeURIComponent(rejected.text))![0];
    const atB = b.browser();
    await b.signIn(atB);
    expect((await atB.step(resumePath)).status).toBe(404);
    expect((await atB.step(`${resumePath}/discard`, { method: 'POST', from: b.origin })).status).toBe(404);
    await a.signIn(browser);
    expect((await browser.step(resumePath)).text).toContain('mine');
  });

  test('revocations of one app wait for its provider, and the other app does not send them', async () => {
    a.providerFaults.set({ path: /revocation/, response: { status: 503 } });
    await post(browser, '/auth/logout');
    expect(await pendingRevocations(a.latchkey)).toBeGreaterThan(0);
    const atB = b.browser();
    await b.signIn(atB);
    await post(atB, '/auth/logout'); // the outbox of B sends all that it has
    while ((await pendingRevocations(b.latchkey)) > 0) await delay(20);
    expect(b.providerFaults.count(/revocation/)).toBe(2); // its own two tokens
    expect(await pendingRevocations(a.latchkey)).toBeGreaterThan(0);
    a.providerFaults.set(undefined);
    while ((await pendingRevocations(a.latchkey)) > 0) await delay(50);
    expect(await a.isActive(a.issued.refresh.at(-1)!)).toBe(false);
  }, 20_000);
});

describe.each(['issuer', 'client id'] as const)('after the %s in the configuration has changed', (change) => {
  let a: World;
  let b: World;
  let changed: Latchkey;
  beforeAll(async () => {
    [a, b] = await Promise.all([createWorld(), createWorld()]);
    changed = await startLatchkey({
      issuer: change === 'issuer' ? b.provider.issuer : a.provider.issuer,
      ...a.client,
      ...(change === 'client id' && { clientId: 'another-client' }),
      apiUrl: a.api.url,
      store: 'redis',
      env: { OAUTH2_REDIRECT_URI: `${a.origin}/auth/callback` },
    });
  });
  afterAll(async () => {
    await changed.close();
    await Promise.all([a.close(), b.close()]);
  });

  test('users must sign in again, and their tokens are sent nowhere; after changing it back they are signed in', async () => {
    const browser = a.browser();
    await a.signIn(browser);
    forgetRequests(a, b);
    await expectNotSignedIn(await withCookiesOf(browser, a.origin, changed.origin));
    expect(requestsOf(a, b)).toEqual([]);
    expect(await pendingRevocations(changed)).toBe(0);
    expect(await isSignedIn(browser)).toBe(true);
  });
});
