import type { Browser, Page } from '../support/browser.ts';
import { createLatch } from '../support/latch.ts';
import { createWorld, type World } from '../support/world.ts';

const refreshes = (world: World) => world.grants.filter((each) => each === 'refresh_token').length;
const asked = (world: World) => world.providerFaults.count(/^\/token$/);
const isLoggedIn = async (browser: Browser) =>
  ((await browser.fetch('/auth/session')).json() as { authenticated: boolean }).authenticated;

describe.each(['memory', 'redis'] as const)('refreshing with the %s store', (store) => {
  let world: World;
  let browser: Browser;
  beforeEach(async () => {
    world = await createWorld({ store, accessTokenSeconds: 100 }); // a leeway of 20 s
    browser = world.browser();
    await world.signIn(browser);
  });
  afterEach(() => world.close());

  test('20 parallel API calls on an expired token spend the refresh token once, and all are answered', async () => {
    world.clock.advance(101);
    const answers = await Promise.all(Array.from({ length: 20 }, () => browser.fetch('/api/profile')));
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(refreshes(world)).toBe(1);
  });

  test('20 staggered calls on an expired token spend the refresh token once, and all are answered', async () => {
    world.clock.advance(101);
    world.providerFaults.set({ path: /^\/token$/, delayMs: 60 });
    const answers: Promise<Page>[] = [];
    for (let call = 0; call < 20; call += 1) {
      answers.push(browser.fetch('/api/profile'));
      await new Promise((resolve) => setTimeout(resolve, 7)); // some come before, some during, some after it
    }
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(refreshes(world)).toBe(1);
  });

  test('a token near its end is renewed behind the answer, which does not wait for a slow provider', async () => {
    world.clock.advance(85);
    const { opened: hold, open: release } = createLatch();
    world.providerFaults.set({ path: /^\/token$/, hold });
    for (let call = 0; call < 5; call += 1) expect((await browser.fetch('/api/profile')).status).toBe(200);
    release();
    await world.latchkey.drain();
    expect(refreshes(world)).toBe(1);
    expect(asked(world)).toBe(2); // the login and the refresh
    await browser.fetch('/api/profile');
    expect(refreshes(world)).toBe(1);
  });

  test('when the person signs out while a refresh runs, nothing is left alive, here or at the provider', async () => {
    world.clock.advance(101);
    const { opened: hold, open: release } = createLatch();
    world.providerFaults.set({ path: /^\/token$/, hold });
    const cookie = await browser.jar.getCookieString(world.origin);
    const call = browser.fetch('/api/profile');
    while (asked(world) < 2) await new Promise((resolve) => setTimeout(resolve, 5)); // it has reached the provider
    const logout = browser.fetch('/auth/logout', { method: 'POST' });
    world.providerFaults.set(undefined);
    release();
    expect((await logout).status).toBe(303);
    await call;
    await world.latchkey.drain();
    const late = await browser.send(`${world.origin}/api/profile`, { headers: { cookie } });
    expect(late.status).toBe(401);
    expect(world.issued.refresh.length).toBe(2); // the refresh did go through
    for (const token of [...world.issued.access, ...world.issued.refresh])
      expect(await world.isActive(token)).toBe(false);
  });

  test.each([
    ['answers 503', { status: 503 }],
    [
      'answers 500 with a page',
      { status: 500, headers: { 'content-type': 'text/html' }, body: '<h1>Oops</h1>' },
    ],
    [
      'answers 200 with a page',
      { status: 200, headers: { 'content-type': 'text/html' }, body: '<h1>Hello</h1>' },
    ],
    ['answers 429', { status: 429, headers: { 'retry-after': '1' } }],
    ['resets the connection', 'reset'],
    [
      'calls our client wrong',
      {
        status: 401,
        headers: { 'content-type': 'application/json', 'www-authenticate': 'Basic realm="x"' },
        body: '{"error":"invalid_client"}',
      },
    ],
  ] as const)('a provider that %s logs nobody out', async (_what, answer) => {
    world.providerFaults.set({ path: /^\/token$/, response: answer });
    world.clock.advance(85); // still valid: it serves on
    expect((await browser.fetch('/api/profile')).status).toBe(200);
    await world.latchkey.drain();
    world.clock.advance(20); // expired
    const away = await browser.fetch('/api/profile');
    expect(away.status).toBe(503);
    expect(away.json()).toMatchObject({ error: 'temporarily_unavailable' });
    expect(Number(away.headers['retry-after'])).toBeGreaterThan(0);
    expect(away.headers['set-cookie']).toBeUndefined();
    expect(await isLoggedIn(browser)).toBe(true);
    world.providerFaults.set(undefined);
    world.clock.advance(Number(away.headers['retry-after']));
    expect((await browser.fetch('/api/profile')).status).toBe(200);
  });

  test('a dead provider is asked once for everyone who waits, and twice more as it took nothing up', async () => {
    world.clock.advance(101);
    world.providerFaults.set({ path: /^\/token$/, response: { status: 503 }, delayMs: 50 });
    const answers = await Promise.all(Array.from({ length: 20 }, () => browser.fetch('/api/profile')));
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(503));
    expect(asked(world)).toBe(1 + 3); // the login, and one refresh for all of them
    const later = await Promise.all(Array.from({ length: 5 }, () => browser.fetch('/api/profile')));
    expect(later.map(({ status }) => status)).toEqual(Array(5).fill(503));
    expect(asked(world)).toBe(4);
  });

  test('what may have been processed is not sent a second time at once', async () => {
    world.clock.advance(101);
    world.providerFaults.set({ path: /^\/token$/, response: 'reset' });
    for (let call = 0; call < 3; call += 1) expect((await browser.fetch('/api/profile')).status).toBe(503);
    expect(asked(world)).toBe(2);
  });

  test('invalid_grant ends the login, and every page and answer agrees', async () => {
    await world.provider.provider.RefreshToken.revokeByGrantId(
      (await world.provider.provider.RefreshToken.find(world.issued.refresh[0]!))!.grantId!,
    );
    world.clock.advance(101);
    const answer = await browser.fetch('/api/profile');
    expect(answer.status).toBe(401);
    expect(answer.json()).toMatchObject({ error: 'login_required' });
    expect((answer.json() as { login_url: string }).login_url).toContain('/auth/login?return_to=');
    expect(await isLoggedIn(browser)).toBe(false);
    expect((await browser.step('/profile')).headers.location).toContain('/login?return_to=%2Fprofile');
    expect((await browser.fetch('/api/profile')).status).toBe(401);
    expect(asked(world)).toBe(2); // nobody asks for a dead login again
  });

  test.each([
    ['400 with an empty body', { status: 400 }],
    ['403 with a page', { status: 403, body: 'no' }],
    [
      'invalid_request',
      { status: 400, headers: { 'content-type': 'application/json' }, body: '{"error":"invalid_request"}' },
    ],
  ] as const)(
    'a final no in other words (%s) ends the login only when the token is over',
    async (_what, answer) => {
      world.providerFaults.set({ path: /^\/token$/, response: answer });
      world.clock.advance(85);
      expect((await browser.fetch('/api/profile')).status).toBe(200);
      await world.latchkey.drain();
      expect(await isLoggedIn(browser)).toBe(true);
      world.clock.advance(20);
      expect((await browser.fetch('/api/profile')).status).toBe(401);
      expect(await isLoggedIn(browser)).toBe(false);
    },
  );

  test('renewing by hand gives a form its message and a script the token info, never a token', async () => {
    const json = await browser.fetch('/auth/refresh', {
      method: 'POST',
      headers: { accept: 'application/json' },
    });
    expect(json.status).toBe(200);
    expect(json.json()).toMatchObject({ authenticated: true, token_type: 'bearer' });
    expect(refreshes(world)).toBe(1);
    world.providerFaults.set({
      path: /^\/token$/,
      response: { status: 503, headers: { 'retry-after': '7' } },
    });
    const away = await browser.fetch('/auth/refresh', {
      method: 'POST',
      headers: { accept: 'application/json' },
    });
    expect(away.status).toBe(503);
    expect(away.headers['retry-after']).toBe('7');
    const page = await browser.submit(await browser.go('/profile'), {}, { action: '/auth/refresh' });
    expect(page.text).toContain('You are still signed in');
  });

  test('a session that is not used ends, one that is used goes on to its absolute limit', async () => {
    for (let hour = 0; hour < 30; hour += 1) {
      world.clock.advance(3600);
      if (store === 'redis') break; // Redis keeps its own time; the contract suite shows its expiry
      expect((await browser.fetch('/api/profile')).status).toBe(200);
    }
    world.clock.advance(7 * 86_400);
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

  test('share logins, and 40 calls at expiry on both spend the refresh token once', async () => {
    const browser = world.browser();
    await world.signIn(browser);
    const other = await world.startAnotherInstance();
    world.clock.advance(101);
    world.providerFaults.set({ path: /^\/token$/, delayMs: 100 });
    const calls = Array.from({ length: 40 }, (_, call) =>
      browser.fetch(`${call % 2 ? other.origin : world.origin}/api/profile`),
    );
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(40).fill(200));
    expect(refreshes(world)).toBe(1);
  });

  test.each([5, -5])('do no harm to each other when the clock of one is %i s ahead', async (seconds) => {
    const browser = world.browser();
    await world.signIn(browser);
    const other = await world.startAnotherInstance(seconds);
    for (let round = 1; round <= 3; round += 1) {
      world.clock.advance(101);
      const calls = Array.from({ length: 20 }, (_, call) =>
        browser.fetch(`${call % 2 ? other.origin : world.origin}/api/profile`),
      );
      expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(20).fill(200));
      expect(refreshes(world)).toBe(round);
    }
    expect(await isLoggedIn(browser)).toBe(true);
  });

  test('a login begun on one is finished on the other', async () => {
    const browser = world.browser();
    const other = await world.startAnotherInstance();
    await world.signIn(browser, 'alice', `${other.origin}/auth/login`);
    expect((await browser.fetch(`${other.origin}/api/profile`)).status).toBe(200);
  });

  test('signing out on one ends the session on the other, even while that one refreshes', async () => {
    const browser = world.browser();
    await world.signIn(browser);
    const other = await world.startAnotherInstance();
    world.clock.advance(101);
    world.providerFaults.set({ path: /^\/token$/, delayMs: 150 });
    const cookie = await browser.jar.getCookieString(world.origin);
    const call = browser.fetch(`${other.origin}/api/profile`);
    while (asked(world) < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    await browser.fetch('/auth/logout', { method: 'POST' });
    await call;
    for (const origin of [world.origin, other.origin]) {
      const late = await browser.send(`${origin}/api/profile`, { headers: { cookie } });
      expect(late.status).toBe(401);
    }
    await world.latchkey.drain();
    for (const token of [...world.issued.access, ...world.issued.refresh])
      expect(await world.isActive(token)).toBe(false);
  });
});
