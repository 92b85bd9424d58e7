import { setTimeout as delay } from 'node:timers/promises';
import type { Browser } from '../support/browser.ts';
import { createLatch } from '../support/latch.ts';
import { createWorld, type World } from '../support/world.ts';

const refreshes = (world: World) => world.grants.filter((each) => each === 'refresh_token').length;
const json = { 'content-type': 'application/json' };

/** The provider ends one access token before its time, as an administrator there can; the grant stands. */
async function revoke(world: World, token: string): Promise<void> {
  await (await world.provider.provider.AccessToken.find(token))!.destroy();
  expect(await world.isActive(token)).toBe(false);
}

describe('an access token the API refuses', () => {
  let world: World;
  let browser: Browser;
  beforeEach(async () => {
    world = await createWorld();
    browser = world.browser();
    await world.signIn(browser);
  });
  afterEach(() => world.close());

  test('that was revoked at the provider is renewed, and the person sees nothing of it', async () => {
    await revoke(world, world.issued.access[0]!);
    const answer = await browser.fetch('/api/data');
    expect([answer.status, refreshes(world)]).toEqual([200, 1]);
    expect(world.apiFaults.count(/data/)).toBe(2);
    expect((await browser.fetch('/api/data')).status).toBe(200);
    expect(refreshes(world)).toBe(1);
    world.clock.advance(30); // sooner, it would not seem to be the token that the API minds
    await revoke(world, world.issued.access[1]!);
    expect((await browser.go('/profile')).text).toContain('Alice Liddell');
    expect(refreshes(world)).toBe(2);
  });

  test('costs one grant, however many calls find out at once or while it is renewed', async () => {
    await revoke(world, world.issued.access[0]!);
    world.providerFaults.set({ path: /^\/token$/, delayMs: 100 });
    const calls = Array.from({ length: 50 }, async (_, call) => {
      await delay(call * 4);
      return browser.fetch('/api/data');
    });
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(50).fill(200));
    expect(refreshes(world)).toBe(1);
  });

  test('is renewed once by two instances that find out at once', async () => {
    const second = await world.startAnotherInstance();
    const cookie = await browser.jar.getCookieString(world.origin);
    await revoke(world, world.issued.access[0]!);
    const calls = [world.origin, second.origin].flatMap((origin) =>
      Array.from({ length: 25 }, () => browser.send(`${origin}/api/data`, { headers: { cookie } })),
    );
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(50).fill(200));
    expect(refreshes(world)).toBe(1);
  });

  test('lets a small body be sent once more, and only once', async () => {
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

  test('asks for a streamed body again, and then takes it', async () => {
    await revoke(world, world.issued.access[0]!);
    const body = JSON.stringify({ title: 'x'.repeat(70_000) });
    const send = () => browser.fetch('/api/data', { method: 'POST', headers: json, body });
    const refused = await send();
    expect(refused.status).toBe(401);
    expect(refused.json()).toEqual({
      error: 'token_renewed',
      message: expect.any(String),
      request_id: refused.headers['x-request-id'],
      retryable: true,
    });
    expect([(await send()).status, refreshes(world)]).toEqual([201, 1]);
  });

  test('is not renewed again and again for an API that refuses every token', async () => {
    const body = '{"error":"its own words"}';
    world.apiFaults.set({ response: { status: 401, headers: json, body } });
    for (let call = 0; call < 5; call += 1) {
      const answer = await browser.fetch('/api/data');
      expect([answer.status, answer.text]).toEqual([401, body]);
    }
    expect(refreshes(world)).toBe(1);
    expect(world.apiFaults.count(/data/)).toBe(6);
  });

  test('is not renewed in turn by instances that each find an API refusing every token', async () => {
    const second = await world.startAnotherInstance();
    const cookie = await browser.jar.getCookieString(world.origin);
    world.apiFaults.set({ response: { status: 401, headers: json, body: '{}' } });
    for (let call = 0; call < 10; call += 1) {
      const { origin } = call % 2 === 0 ? world : second;
      expect((await browser.send(`${origin}/api/data`, { headers: { cookie } })).text).toBe('{}');
    }
    expect(refreshes(world)).toBe(1);
  });

  test('is 503 while the provider cannot renew it, and the login stands', async () => {
    await revoke(world, world.issued.access[0]!);
    world.providerFaults.set({ path: /^\/token$/, response: { status: 503 } });
    const answer = await browser.fetch('/api/data');
    expect([answer.status, answer.headers['retry-after']]).toEqual([503, expect.any(String)]);
    expect((await browser.fetch('/auth/session')).json()).toMatchObject({ authenticated: true });
  });

  test('is 401 login_required once the provider refuses to renew it, everywhere', async () => {
    await revoke(world, world.issued.access[0]!);
    await (await world.provider.provider.RefreshToken.find(world.issued.refresh[0]!))!.destroy();
    expect((await browser.fetch('/api/data')).json()).toMatchObject({ error: 'login_required' });
    expect((await browser.fetch('/auth/session')).json()).toEqual({ authenticated: false });
  });
});

describe('an API that cannot answer', () => {
  let world: World;
  let browser: Browser;
  beforeEach(async () => {
    world = await createWorld({ store: 'memory' });
    browser = world.browser();
    await world.signIn(browser);
  });
  afterEach(() => world.close());

  test.each([502, 503, 504])('for a moment, with %i, is asked again, and nobody notices', async (status) => {
    world.apiFaults.set({ response: { status } });
    const answer = browser.fetch('/api/data');
    while (world.apiFaults.count(/data/) < 2) await delay(1);
    world.apiFaults.set(undefined);
    expect((await answer).status).toBe(200);
    expect(world.apiFaults.count(/data/)).toBe(3);
  });

  test.each([
    ['a POST', 'POST', { status: 503 }, 1],
    ['a GET whose answer names a time', 'GET', { status: 503, headers: { 'retry-after': '7' } }, 1],
    ['a GET that is one too many', 'GET', { status: 429, headers: { 'retry-after': '7' } }, 1],
    ['a GET that broke something', 'GET', { status: 500 }, 1],
    ['a GET', 'GET', { status: 503 }, 3],
    ['a HEAD', 'HEAD', { status: 503 }, 3],
  ] as const)('is asked about %s as often as that does no harm', async (_what, method, fault, times) => {
    world.apiFaults.set({ response: fault });
    const answer = await browser.fetch('/api/data', { method, ...(method === 'POST' && { body: '{}' }) });
    expect([answer.status, world.apiFaults.count(/data/)]).toEqual([fault.status, times]);
    if ('headers' in fault) expect(answer.headers).toMatchObject(fault.headers);
  });

  test('and hangs up on a POST is not sent it again', async () => {
    world.apiFaults.set({ response: 'reset' });
    expect((await browser.fetch('/api/data', { method: 'POST', body: '{}' })).status).toBe(502);
    expect(world.apiFaults.count(/data/)).toBe(1);
  });

  test('is left alone after ten failures in a row but for one probe, and used again once it answers', async () => {
    world.apiFaults.set({ response: { status: 503 } });
    for (let call = 0; call < 10; call += 1) await browser.fetch('/api/data', { method: 'POST', body: '{}' });
    const asked = world.apiFaults.count(/data/);
    const refused = await browser.fetch('/api/data');
    expect([refused.status, refused.headers['retry-after']]).toEqual([503, '1']);
    expect(refused.json()).toMatchObject({ error: 'temporarily_unavailable' });
    expect(world.apiFaults.count(/data/)).toBe(asked);
    world.apiFaults.set(undefined);
    while ((await browser.fetch('/api/data')).status !== 200) await delay(50);
    expect(world.apiFaults.count(/data/)).toBe(asked + 1);
  });

  test('is not thought ill of because browsers went away', async () => {
    const { opened: hold, open } = createLatch();
    world.apiFaults.set({ hold });
    for (let call = 0; call < 12; call += 1) {
      const before = world.apiFaults.requests.length;
      const controller = new AbortController();
      const cookie = await browser.jar.getCookieString(world.origin);
      const left = fetch(`${world.origin}/api/data`, { headers: { cookie }, signal: controller.signal });
      while (world.apiFaults.requests.length === before) await delay(1);
      controller.abort();
      await expect(left).rejects.toThrow();
    }
    open();
    world.apiFaults.set(undefined);
    expect((await browser.fetch('/api/data')).status).toBe(200);
  });
});
