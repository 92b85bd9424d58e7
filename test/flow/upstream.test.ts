import { setTimeout as delay } from 'node:timers/promises';
import type { Browser } from '../support/browser.ts';
import { createLatch } from '../support/latch.ts';
import { createWorld, type World } from '../support/world.ts';

const refreshes = (world: World) => world.grants.filter((each) => each === 'refresh_token').length;
const json = { 'content-type': 'application/json' };

/** Revokes one access token at the provider, as an administrator could; the grant stays valid. */
async function revoke(world: World, token: string): Promise<void> {
  await (await world.provider.provider.AccessToken.find(token))!.destroy();
  expect(await world.isActive(token)).toBe(false);
}

describe('an access token that the API rejects', () => {
  let world: World;
  let browser: Browser;
  beforeEach(async () => {
    world = await createWorld();
    browser = world.browser();
    await world.signIn(browser);
  });
  afterEach(() => world.close());

  test('an access token revoked at the provider is refreshed, and the user gets the requested response', async () => {
    await revoke(world, world.issued.access[0]!);
    const response = await browser.fetch('/api/data');
    expect([response.status, refreshes(world)]).toEqual([200, 1]);
    expect(world.apiFaults.count(/data/)).toBe(2);
    expect((await browser.fetch('/api/data')).status).toBe(200);
    expect(refreshes(world)).toBe(1);
    await world.clock.advance(30); // a token refreshed more recently would not be replaced again
    await revoke(world, world.issued.access[1]!);
    expect((await browser.go('/profile')).text).toContain('Alice Liddell');
    expect(refreshes(world)).toBe(2);
  });

  test('50 API calls with a rejected token, before and during its refresh, cause one refresh', async () => {
    await revoke(world, world.issued.access[0]!);
    world.providerFaults.set({ path: /^\/token$/, delayMs: 100 });
    const calls = Array.from({ length: 50 }, async (_, call) => {
      await delay(call * 4);
      return browser.fetch('/api/data');
    });
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(50).fill(200));
    expect(refreshes(world)).toBe(1);
  });

  test('50 API calls with a rejected token on two instances cause one refresh', async () => {
    const second = await world.startAnotherInstance();
    const cookie = await browser.jar.getCookieString(world.origin);
    await revoke(world, world.issued.access[0]!);
    const calls = [world.origin, second.origin].flatMap((origin) =>
      Array.from({ length: 25 }, () => browser.send(`${origin}/api/data`, { headers: { cookie } })),
    );
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(50).fill(200));
    expect(refreshes(world)).toBe(1);
  });

  test('a request with a small body is sent again after the refresh, exactly once', async () => {
    await revoke(world, world.issued.access[0]!);
    const sent = await browser.fetch('/api/data', {
      method: 'POST',
      headers: json,
      body: '{"title":"Grow"}',
    });
    expect([sent.status, refreshes(world)]).toEqual([201, 1]);
    const { items } = (await browser.fetch('/api/data')).json() as { items: readonly { title?: string }[] };
    expect(items.filter(({ title }) => title === 'Grow')).toHaveLength(1);
  });

  test('a request with a streamed body gets 401 token_renewed, and succeeds when the client sends it again', async () => {
    await revoke(world, world.issued.access[0]!);
    const body = JSON.stringify({ title: 'Long', note: 'x'.repeat(70_000) });
    const send = () => browser.fetch('/api/data', { method: 'POST', headers: json, body });
    const rejected = await send();
    expect(rejected.status).toBe(401);
    expect(rejected.json()).toEqual({
      error: 'token_renewed',
      message: expect.any(String),
      request_id: rejected.headers['x-request-id'],
      retryable: true,
    });
    expect([(await send()).status, refreshes(world)]).toEqual([201, 1]);
  });

  test('an API that rejects every token causes a single refresh, and its 401 is passed through', async () => {
    const body = '{"error":"its own words"}';
    world.apiFaults.set({ response: { status: 401, headers: json, body } });
    for (let call = 0; call < 5; call += 1) {
      const response = await browser.fetch('/api/data');
      expect([response.status, response.text]).toEqual([401, body]);
    }
    expect(refreshes(world)).toBe(1);
    expect(world.apiFaults.count(/data/)).toBe(6);
  });

  test("two instances do not keep replacing each other's token when the API rejects every token", async () => {
    const second = await world.startAnotherInstance();
    const cookie = await browser.jar.getCookieString(world.origin);
    world.apiFaults.set({ response: { status: 401, headers: json, body: '{}' } });
    for (let call = 0; call < 10; call += 1) {
      const { origin } = call % 2 === 0 ? world : second;
      expect((await browser.send(`${origin}/api/data`, { headers: { cookie } })).text).toBe('{}');
    }
    expect(refreshes(world)).toBe(1);
  });

  test('when the API rejects the token during a provider outage, the user gets 503 and the session continues', async () => {
    await revoke(world, world.issued.access[0]!);
    world.providerFaults.set({ path: /^\/token$/, response: { status: 503 } });
    const response = await browser.fetch('/api/data');
    expect([response.status, response.headers['retry-after']]).toEqual([503, expect.any(String)]);
    expect((await browser.fetch('/auth/session')).json()).toMatchObject({ authenticated: true });
  });

  test('when both the API and the provider reject the tokens, the user gets 401 login_required and the session ends', async () => {
    await revoke(world, world.issued.access[0]!);
    await (await world.provider.provider.RefreshToken.find(world.issued.refresh[0]!))!.destroy();
    expect((await browser.fetch('/api/data')).json()).toMatchObject({ error: 'login_required' });
    expect((await browser.fetch('/auth/session')).json()).toEqual({ authenticated: false });
  });
});

describe('an API that fails', () => {
  let world: World;
  let browser: Browser;
  beforeEach(async () => {
    world = await createWorld({ store: 'memory' });
    browser = world.browser();
    await world.signIn(browser);
  });
  afterEach(() => world.close());

  test.each([502, 503, 504])('a GET that fails with %i is retried until the API recovers', async (status) => {
    world.apiFaults.set({ response: { status } });
    const response = browser.fetch('/api/data');
    while (world.apiFaults.count(/data/) < 2) await delay(1);
    world.apiFaults.set(undefined);
    expect((await response).status).toBe(200);
    expect(world.apiFaults.count(/data/)).toBe(3);
  });

  test.each([
    ['a POST that fails with 503 is not retried', 'POST', { status: 503 }, 1],
    [
      'a GET that fails with 503 and Retry-After is not retried',
      'GET',
      { status: 503, headers: { 'retry-after': '7' } },
      1,
    ],
    ['a GET that fails with 429 is not retried', 'GET', { status: 429, headers: { 'retry-after': '7' } }, 1],
    ['a GET that fails with 500 is not retried', 'GET', { status: 500 }, 1],
    ['a GET that fails with 503 is retried twice', 'GET', { status: 503 }, 3],
    ['a HEAD that fails with 503 is retried twice', 'HEAD', { status: 503 }, 3],
  ] as const)('%s', async (_what, method, fault, times) => {
    world.apiFaults.set({ response: fault });
    const response = await browser.fetch('/api/data', { method, ...(method === 'POST' && { body: '{}' }) });
    expect([response.status, world.apiFaults.count(/data/)]).toEqual([fault.status, times]);
    if ('headers' in fault) expect(response.headers).toMatchObject(fault.headers);
  });

  test('a POST is not retried when the API resets the connection', async () => {
    world.apiFaults.set({ response: 'reset' });
    expect((await browser.fetch('/api/data', { method: 'POST', body: '{}' })).status).toBe(502);
    expect(world.apiFaults.count(/data/)).toBe(1);
  });

  test('client aborts do not count as upstream failures', async () => {
    const { opened: hold, open } = createLatch();
    world.apiFaults.set({ hold });
    for (let call = 0; call < 12; call += 1) {
      const before = world.apiFaults.requests.length;
      const controller = new AbortController();
      const cookie = await browser.jar.getCookieString(world.origin);
      const aborted = fetch(`${world.origin}/api/data`, { headers: { cookie }, signal: controller.signal });
      while (world.apiFaults.requests.length === before) await delay(1);
      controller.abort();
      await expect(aborted).rejects.toThrow();
    }
    open();
    world.apiFaults.set(undefined);
    expect((await browser.fetch('/api/data')).status).toBe(200);
  });
});
