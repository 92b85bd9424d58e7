import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { readSession } from '../hostile/support/logged-in.ts';
import { sendRequest } from '../hostile/support/wire.ts';
import { type Latchkey, listenOnFreePort, startLatchkey } from '../support/latchkey.ts';
import { createRelay } from '../support/relay.ts';
import { createWorld, type World } from '../support/world.ts';

const redisUrl = new URL(process.env.TEST_REDIS_URL!);
const redis = new Redis(redisUrl.href, { lazyConnect: true });
beforeAll(() => redis.connect());
afterAll(() => redis.disconnect());

/** As when the minute is over. */
async function startOfTheNextMinute(): Promise<void> {
  const keys = await redis.keys('latchkey:rate:auth:*');
  if (keys.length > 0) await redis.del(keys);
}

async function statuses(times: number, request: () => Promise<{ status: number }>): Promise<number[]> {
  const seen: number[] = [];
  for (let count = 0; count < times; count += 1) seen.push((await request()).status);
  return seen;
}

const json = { accept: 'application/json', 'sec-fetch-mode': 'cors', 'sec-fetch-site': 'same-origin' };
const isCallback = (url: string) => url.includes('/auth/callback?');

describe.each(['redis', 'memory'] as const)('a limit of 4 requests to /auth/* a minute, in %s', (store) => {
  let world: World;
  beforeEach(async () => {
    await startOfTheNextMinute();
    world = await createWorld({ store, env: { AUTH_RATE_LIMIT: '4', TRUST_PROXY: '1' } });
  });
  afterEach(() => world.close());

  const from = (address: string, headers = {}) =>
    sendRequest(world.origin, 'GET', '/auth/session', { ...json, 'x-forwarded-for': address, ...headers });

  test('is told with every answer, and answered 429 with Retry-After when it is used up', async () => {
    const first = await from('192.0.2.1');
    expect(first.status).toBe(200);
    expect(first.headers.ratelimit).toMatch(/^"auth"; r=3; t=(60|59)$/);
    expect(first.headers['ratelimit-policy']).toMatch(/^"auth"; q=4; w=60; pk=:[\w+/=]+:$/);
    expect(first.headers['retry-after']).toBeUndefined();
    expect(await statuses(3, () => from('192.0.2.1'))).toEqual([200, 200, 200]);

    const refused = await from('192.0.2.1');
    expect(refused.status).toBe(429);
    expect(JSON.parse(refused.text)).toEqual({
      error: 'too_many_requests',
      message: expect.any(String),
      request_id: refused.headers['x-request-id'],
    });
    expect(refused.headers['retry-after']).toMatch(/^(60|5\d)$/);
    expect(refused.headers.ratelimit).toBe(`"auth"; r=0; t=${refused.headers['retry-after']}`);
    expect(refused.headers).not.toHaveProperty('x-ratelimit-limit');
  });

  test('is told to a person on a page', async () => {
    const page = () =>
      sendRequest(world.origin, 'GET', '/auth/login', { 'sec-fetch-mode': 'navigate', accept: 'text/html' });
    expect(await statuses(4, page)).toEqual([303, 303, 303, 303]);
    const refused = await page();
    expect([refused.status, refused.headers['content-type']]).toEqual([429, 'text/html; charset=utf-8']);
    expect(refused.text).toContain('Please wait a moment');
    const leaving = { ...json, 'sec-fetch-mode': 'navigate' };
    expect((await sendRequest(world.origin, 'POST', '/auth/logout', leaving)).status).toBe(303); // nobody is kept from it
  });

  test('holds for an address without a session, IPv6 by its /56, and a cookie we did not sign is none', async () => {
    expect(await statuses(4, () => from('192.0.2.1'))).toEqual([200, 200, 200, 200]);
    expect((await from('192.0.2.2')).status).toBe(200);
    for (const cookie of ['latchkey=s%3Aforged.forged', 'latchkey=x', 'latchkey=', 'other=1'])
      expect((await from('192.0.2.1', { cookie })).status).toBe(429);
    expect((await from('::ffff:192.0.2.1')).status).toBe(429);

    expect(await statuses(4, () => from('2001:db8:1:2::1'))).toEqual([200, 200, 200, 200]);
    expect((await from('2001:db8:1:ff:a:b:c:d')).status).toBe(429);
    expect((await from('2001:db8:1:100::1')).status).toBe(200);
  });

  test('is counted for each session alone, wherever it comes from', async () => {
    const alice = world.browser();
    await world.signIn(alice);
    const bob = world.browser();
    await world.signIn(bob, 'bob'); // two requests each, of one address
    const { cookie, id } = await readSession(alice);
    const others = await readSession(bob);

    expect(await statuses(4, () => from('192.0.2.9', { cookie }))).toEqual([200, 200, 200, 200]);
    expect((await from('192.0.2.10', { cookie })).status).toBe(429);
    expect((await from('192.0.2.9', { cookie: others.cookie })).status).toBe(200);
    expect((await from('192.0.2.9')).status).toBe(200);
    expect(world.latchkey.logLines.join('')).not.toContain(id);
  });

  test('a callback over the limit has not spent its code: it is good a minute later', async () => {
    const browser = world.browser();
    const toConsent = await browser.submit(
      await browser.go('/auth/login'),
      { login: 'alice', password: 'any' },
      { action: '/login' },
    );
    const callback = await browser.submit(
      toConsent,
      { decision: 'allow' },
      { action: '/consent', until: isCallback },
    );
    expect(await statuses(3, () => browser.fetch('/auth/session'))).toEqual([200, 200, 200]);
    const refused = await browser.step(callback.url);
    expect([refused.status, refused.headers['set-cookie']]).toEqual([429, undefined]);
    expect(world.grants).toEqual([]);

    // In memory the minute cannot be made to end; from another address it has not even begun.
    await startOfTheNextMinute();
    const later = await browser.step(callback.url, { headers: { 'x-forwarded-for': '192.0.2.77' } });
    expect(later.status).toBe(303);
    expect(world.grants).toEqual(['authorization_code']);
    const { cookie } = await readSession(browser);
    expect(JSON.parse((await from('192.0.2.77', { cookie })).text)).toMatchObject({ authenticated: true });
  });

  test('a request refused as cross-site counts for nobody', async () => {
    const forced = () =>
      sendRequest(world.origin, 'POST', '/auth/logout', { ...json, 'sec-fetch-site': 'cross-site' });
    expect(await statuses(6, forced)).toEqual([403, 403, 403, 403, 403, 403]);
    expect((await sendRequest(world.origin, 'GET', '/auth/session', json)).headers.ratelimit).toContain(
      'r=3',
    );
  });
});

test('instances on one Redis count together', async () => {
  await startOfTheNextMinute();
  const world = await createWorld({ env: { AUTH_RATE_LIMIT: '4' } });
  try {
    const other = await world.startAnotherInstance();
    const here = () => sendRequest(world.origin, 'GET', '/auth/session', json);
    const there = () => sendRequest(other.origin, 'GET', '/auth/session', json);
    expect([...(await statuses(2, here)), ...(await statuses(2, there))]).toEqual([200, 200, 200, 200]);
    await redis.script('FLUSH'); // as on a replica that has become master
    expect([(await here()).status, (await there()).status]).toEqual([429, 429]);
  } finally {
    await world.close();
  }
});

test('a proxy that is not trusted cannot say who asks', async () => {
  const world = await createWorld({ store: 'memory', env: { AUTH_RATE_LIMIT: '2' } });
  let last = 0;
  const spoofed = () => {
    last += 1;
    const headers = { ...json, 'x-forwarded-for': `192.0.2.${last}`, forwarded: `for=192.0.2.${last}` };
    return sendRequest(world.origin, 'GET', '/auth/session', headers);
  };
  expect(await statuses(3, spoofed)).toEqual([200, 200, 429]);
  await world.close();
});

test('0 is no limit, and no word of one', async () => {
  const world = await createWorld({ store: 'memory', env: { AUTH_RATE_LIMIT: '0' } });
  const { headers } = await sendRequest(world.origin, 'GET', '/auth/session', json);
  expect(Object.keys(headers).filter((name) => name.includes('ratelimit'))).toEqual([]);
  await world.close();
});

describe('while Redis is away', () => {
  let latchkey: Latchkey;
  let relay: Awaited<ReturnType<typeof createRelay>>;
  beforeEach(async () => {
    await startOfTheNextMinute();
    relay = await createRelay({ host: redisUrl.hostname, port: Number(redisUrl.port) });
    const { server, origin } = await listenOnFreePort();
    latchkey = await startLatchkey({
      server,
      issuer: origin,
      apiUrl: origin,
      clientId: 'x',
      clientSecret: 'y',
      env: { REDIS_URL: `redis://127.0.0.1:${relay.port}`, AUTH_RATE_LIMIT: '3' },
    });
  });
  afterEach(async () => {
    relay.resume();
    await relay.close();
    await latchkey.close();
  });

  const session = () => sendRequest(latchkey.origin, 'GET', '/auth/session', json);
  const logged = (text: string) => latchkey.logLines.filter((line) => line.includes(text)).length;

  async function untilLimited(): Promise<void> {
    const deadline = Date.now() + 8_000;
    while ((await session()).status !== 429) {
      if (Date.now() > deadline) throw new Error('nothing is limited any more');
      await delay(50);
    }
  }

  test('at the start, requests pass and it is told once; when it comes, they are limited', async () => {
    expect(await statuses(20, session)).toEqual(Array(20).fill(200));
    expect((await session()).headers.ratelimit).toBeUndefined();
    expect(logged('requests are not limited')).toBe(1);
    await relay.open();
    await untilLimited();
    expect(logged('requests are limited again')).toBe(1);
  });

  test('and hangs, nobody waits for a count for long, and then nobody waits at all', async () => {
    await relay.open();
    await untilLimited();
    relay.pause();
    const before = logged('requests are not limited');
    const began = Date.now();
    expect(await statuses(10, session)).toEqual(Array(10).fill(200));
    expect(Date.now() - began).toBeLessThan(900);
    expect(logged('requests are not limited')).toBe(before + 1);
    relay.resume();
    await untilLimited();
  });
});
