import type { Browser, Page } from '../support/browser.ts';
import { createLatch } from '../support/latch.ts';
import { createWorld, type World } from '../support/world.ts';

const refreshes = (world: World) => world.grants.filter((each) => each === 'refresh_token').length;
const tokenRequests = (world: World) => world.providerFaults.count(/^\/token$/);
const isLoggedIn = async (browser: Browser) =>
  ((await browser.fetch('/auth/session')).json() as { authenticated: boolean }).authenticated;

describe.each(['memory', 'redis'] as const)('token refresh with the %s store', (store) => {
  let world: World;
  let browser: Browser;
  beforeEach(async () => {
    world = await createWorld({ store, accessTokenSeconds: 100 }); // refreshed from 20 s before expiry
    browser = world.browser();
    await world.signIn(browser);
  });
  afterEach(() => world.close());

  test('20 parallel API calls with an expired access token cause one refresh, and all succeed', async () => {
    await world.clock.advance(101);
    const responses = await Promise.all(Array.from({ length: 20 }, () => browser.fetch('/api/profile')));
    expect(responses.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(refreshes(world)).toBe(1);
  });

  test('20 staggered API calls with an expired access token cause one refresh, and all succeed', async () => {
    await world.clock.advance(101);
    world.providerFaults.set({ path: /^\/token$/, delayMs: 60 });
    const requests: Promise<Page>[] = [];
    for (let call = 0; call < 20; call += 1) {
      requests.push(browser.fetch('/api/profile'));
      await new Promise((resolve) => setTimeout(resolve, 7)); // some arrive before, some during and some after the refresh
    }
    expect((await Promise.all(requests)).map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(refreshes(world)).toBe(1);
  });

  test('a token close to expiry is refreshed in the background, so API calls do not wait for a slow provider', async () => {
    await world.clock.advance(85);
    const { opened: hold, open: release } = createLatch();
    world.providerFaults.set({ path: /^\/token$/, hold });
    for (let call = 0; call < 5; call += 1) expect((await browser.fetch('/api/profile')).status).toBe(200);
    release();
    await world.latchkey.drain();
    expect(refreshes(world)).toBe(1);
    expect(tokenRequests(world)).toBe(2); // the login and the refresh
    await browser.fetch('/api/profile');
    expect(refreshes(world)).toBe(1);
  });

  test('signing out during a refresh ends the session and revokes every token, the new ones included', async () => {
    await world.clock.advance(101);
    const { opened: hold, open: release } = createLatch();
    world.providerFaults.set({ path: /^\/token$/, hold });
    const cookie = await browser.jar.getCookieString(world.origin);
    const call = browser.fetch('/api/profile');
    while (tokenRequests(world) < 2) await new Promise((resolve) => setTimeout(resolve, 5)); // until the refresh arrives
    const logout = browser.fetch('/auth/logout', { method: 'POST' });
    world.providerFaults.set(undefined);
    release();
    expect((await logout).status).toBe(303);
    await call;
    await world.latchkey.drain();
    const replayed = await browser.send(`${world.origin}/api/profile`, { headers: { cookie } });
    expect(replayed.status).toBe(401);
    expect(world.issued.refresh.length).toBe(2); // the refresh succeeded
    for (const token of [...world.issued.access, ...world.issued.refresh])
      expect(await world.isActive(token)).toBe(false);
  });

  test.each([
    ['returns 503', { status: 503 }],
    [
      'returns 500 with an HTML page',
      { status: 500, headers: { 'content-type': 'text/html' }, body: '<h1>Oops</h1>' },
    ],
    [
      'returns 200 with an HTML page',
      { status: 200, headers: { 'content-type': 'text/html' }, body: '<h1>Hello</h1>' },
    ],
    ['returns 429', { status: 429, headers: { 'retry-after': '1' } }],
    ['resets the connection', 'reset'],
    [
      'rejects the client credentials',
      {
        status: 401,
        headers: { 'content-type': 'application/json', 'www-authenticate': 'Basic realm="x"' },
        body: '{"error":"invalid_client"}',
      },
    ],
  ] as const)('the session continues while the token endpoint %s', async (_what, fault) => {
    world.providerFaults.set({ path: /^\/token$/, response: fault });
    await world.clock.advance(85); // still valid: API calls succeed
    expect((await browser.fetch('/api/profile')).status).toBe(200);
    await world.latchkey.drain();
    await world.clock.advance(20); // expired
    const unavailable = await browser.fetch('/api/profile');
    expect(unavailable.status).toBe(503);
    expect(unavailable.json()).toMatchObject({ error: 'temporarily_unavailable' });
    expect(Number(unavailable.headers['retry-after'])).toBeGreaterThan(0);
    expect(unavailable.headers['set-cookie']).toBeUndefined();
    expect(await isLoggedIn(browser)).toBe(true);
    world.providerFaults.set(undefined);
    await world.clock.advance(Number(unavailable.headers['retry-after']));
    expect((await browser.fetch('/api/profile')).status).toBe(200);
  });

  test('during a provider outage, 20 waiting API calls share three refresh attempts, and later calls add none', async () => {
    await world.clock.advance(101);
    world.providerFaults.set({ path: /^\/token$/, response: { status: 503 }, delayMs: 50 });
    const responses = await Promise.all(Array.from({ length: 20 }, () => browser.fetch('/api/profile')));
    expect(responses.map(({ status }) => status)).toEqual(Array(20).fill(503));
    expect(tokenRequests(world)).toBe(1 + 3); // the login, and three attempts of one refresh for all calls
    const later = await Promise.all(Array.from({ length: 5 }, () => browser.fetch('/api/profile')));
    expect(later.map(({ status }) => status)).toEqual(Array(5).fill(503));
    expect(tokenRequests(world)).toBe(4);
  });

  test('a refresh that the provider may have processed is not retried immediately', async () => {
    await world.clock.advance(101);
    world.providerFaults.set({ path: /^\/token$/, response: 'reset' });
    for (let call = 0; call < 3; call += 1) expect((await browser.fetch('/api/profile')).status).toBe(503);
    expect(tokenRequests(world)).toBe(2);
  });

  test('invalid_grant ends the session, and the API, /auth/session and pages all report it', async () => {
    await world.provider.provider.RefreshToken.revokeByGrantId(
      (await world.provider.provider.RefreshToken.find(world.issued.refresh[0]!))!.grantId!,
    );
    await world.clock.advance(101);
    const response = await browser.fetch('/api/profile');
    expect(response.status).toBe(401);
    expect(response.json()).toMatchObject({ error: 'login_required' });
    expect((response.json() as { login_url: string }).login_url).toContain('/auth/login?return_to=');
    expect(await isLoggedIn(browser)).toBe(false);
    expect((await browser.step('/profile')).headers.location).toContain('/auth/login?return_to=%2Fprofile');
    expect((await browser.fetch('/api/profile')).status).toBe(401);
    expect(tokenRequests(world)).toBe(2); // no further refresh after the session has ended
  });

  test.each([
    [403, 'text/html', '<h1>Checking your browser</h1>'],
    [401, 'text/html', '<h1>Unauthorized</h1>'],
    [400, 'text/plain', 'Bad Request'],
  ])(
    'a firewall that answers the refresh with HTTP %i and %s signs nobody out',
    async (status, type, body) => {
      const headers = { 'content-type': type };
      world.providerFaults.set({ path: /^\/token$/, response: { status, headers, body } });
      await world.clock.advance(101);
      const response = await browser.fetch('/api/profile');
      expect([response.status, response.headers['retry-after']]).toEqual([503, '3']);
      expect(world.latchkey.logLines.join('')).toContain(
        `HTTP ${status} with ${type}, which is not an OAuth response`,
      );
      world.providerFaults.set(undefined);
      await world.clock.advance(4);
      expect((await browser.fetch('/api/profile')).status).toBe(200);
    },
  );

  test.each([
    ['400 with an empty body', { status: 400 }],
    ['401 with an empty body', { status: 401 }],
    [
      'invalid_request',
      { status: 400, headers: { 'content-type': 'application/json' }, body: '{"error":"invalid_request"}' },
    ],
  ] as const)(
    'a permanent error other than invalid_grant (%s) ends the session only after the access token expires',
    async (_what, fault) => {
      world.providerFaults.set({ path: /^\/token$/, response: fault });
      await world.clock.advance(85);
      expect((await browser.fetch('/api/profile')).status).toBe(200);
      await world.latchkey.drain();
      expect(await isLoggedIn(browser)).toBe(true);
      await world.clock.advance(20);
      expect((await browser.fetch('/api/profile')).status).toBe(401);
      expect(await isLoggedIn(browser)).toBe(false);
    },
  );

  test('POST /auth/refresh returns JSON to a script and redirects a form to a page with a message', async () => {
    const json = await browser.fetch('/auth/refresh', {
      method: 'POST',
      headers: { accept: 'application/json' },
    });
    expect(json.status).toBe(200);
    expect(json.json()).toMatchObject({ authenticated: true, token_type: 'bearer' });
    expect(refreshes(world)).toBe(1);
    await world.clock.advance(5);
    world.providerFaults.set({
      path: /^\/token$/,
      response: { status: 503, headers: { 'retry-after': '7' } },
    });
    const unavailable = await browser.fetch('/auth/refresh', {
      method: 'POST',
      headers: { accept: 'application/json' },
    });
    expect(unavailable.status).toBe(503);
    expect(unavailable.headers['retry-after']).toBe('7');
    const page = await browser.submit(await browser.go('/profile'), {}, { action: '/auth/refresh' });
    expect(page.text).toContain('still signed in');
  });

  test('POST /auth/refresh, however often it is called, causes one refresh in five seconds, on all instances', async () => {
    const other = store === 'redis' ? await world.startAnotherInstance() : world.latchkey;
    const refresh = (origin: string) =>
      browser.fetch(`${origin}/auth/refresh`, { method: 'POST', headers: { accept: 'application/json' } });
    for (let call = 0; call < 10; call += 1) {
      const response = await refresh(call % 2 ? other.origin : world.origin);
      expect([response.status, response.json()]).toMatchObject([200, { authenticated: true }]);
    }
    expect(refreshes(world)).toBe(1);
    await world.clock.advance(5);
    expect((await refresh(world.origin)).status).toBe(200);
    expect(refreshes(world)).toBe(2);
    await world.clock.advance(99); // the token expires, so the pause must not delay its refresh
    expect((await browser.fetch('/api/profile')).status).toBe(200);
    expect(refreshes(world)).toBe(3);
  });

  test('a session that is used does not reach its idle timeout, and an unused session expires', async () => {
    for (let hour = 0; hour < 30; hour += 1) {
      await world.clock.advance(3600);
      if (store === 'redis') break; // Redis uses its own clock; the contract suite tests its expiry
      expect((await browser.fetch('/api/profile')).status).toBe(200);
    }
    await world.clock.advance(7 * 86_400);
    expect((await browser.fetch('/api/profile')).status).toBe(401);
    expect(await isLoggedIn(browser)).toBe(false);
  });
});

describe('two instances on one Redis', () => {
  let world: World;
  beforeEach(async () => {
    world = await createWorld({ accessTokenSeconds: 100 });
  });
  afterEach(() => world.close());

  test('40 API calls across both instances with an expired access token cause one refresh', async () => {
    const browser = world.browser();
    await world.signIn(browser);
    const other = await world.startAnotherInstance();
    await world.clock.advance(101);
    world.providerFaults.set({ path: /^\/token$/, delayMs: 100 });
    const calls = Array.from({ length: 40 }, (_, call) =>
      browser.fetch(`${call % 2 ? other.origin : world.origin}/api/profile`),
    );
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(40).fill(200));
    expect(refreshes(world)).toBe(1);
  });

  test.each([5, -5])(
    'a clock offset of %i s between the instances causes no extra refresh and ends no session',
    async (seconds) => {
      const browser = world.browser();
      await world.signIn(browser);
      const other = await world.startAnotherInstance(seconds);
      for (let round = 1; round <= 3; round += 1) {
        await world.clock.advance(101);
        const calls = Array.from({ length: 20 }, (_, call) =>
          browser.fetch(`${call % 2 ? other.origin : world.origin}/api/profile`),
        );
        expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(20).fill(200));
        expect(refreshes(world)).toBe(round);
      }
      expect(await isLoggedIn(browser)).toBe(true);
    },
  );

  test('a login started on one instance completes on the other', async () => {
    const browser = world.browser();
    const other = await world.startAnotherInstance();
    await world.signIn(browser, 'alice', `${other.origin}/auth/login`);
    expect((await browser.fetch(`${other.origin}/api/profile`)).status).toBe(200);
  });

  test('signing out on one instance ends the session on the other, even during a refresh there', async () => {
    const browser = world.browser();
    await world.signIn(browser);
    const other = await world.startAnotherInstance();
    await world.clock.advance(101);
    world.providerFaults.set({ path: /^\/token$/, delayMs: 150 });
    const cookie = await browser.jar.getCookieString(world.origin);
    const call = browser.fetch(`${other.origin}/api/profile`);
    while (tokenRequests(world) < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    await browser.fetch('/auth/logout', { method: 'POST' });
    await call;
    for (const origin of [world.origin, other.origin]) {
      const replayed = await browser.send(`${origin}/api/profile`, { headers: { cookie } });
      expect(replayed.status).toBe(401);
    }
    await world.latchkey.drain();
    for (const token of [...world.issued.access, ...world.issued.refresh])
      expect(await world.isActive(token)).toBe(false);
  });
});
