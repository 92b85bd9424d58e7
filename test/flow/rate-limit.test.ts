import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import request from 'supertest';
import { createRedisRateLimitStore } from '../../src/stores/redis/rate-limit-store.ts';
import { readSession } from '../hostile/support/logged-in.ts';
import { cookieNames } from '../support/browser.ts';
import { type Latchkey, listenOnFreePort, startLatchkey } from '../support/latchkey.ts';
import { createRelay } from '../support/relay.ts';
import { testRedisUrl } from '../support/test-redis.ts';
import { createWorld, type World } from '../support/world.ts';

const redisUrl = new URL(testRedisUrl());
const redis = new Redis(redisUrl.href, { lazyConnect: true });
beforeAll(() => redis.connect());
afterAll(() => redis.disconnect());

/** Deletes the counts in Redis, of one limit or of all, as if the minute were over. */
async function clearCounts(name = '*'): Promise<void> {
  const keys = await redis.keys(`latchkey:rate:*:${name}:*`);
  if (keys.length > 0) await redis.del(keys);
}

async function statuses(count: number, send: () => Promise<{ status: number }>): Promise<number[]> {
  const received: number[] = [];
  while (received.length < count) received.push((await send()).status);
  return received;
}

const fetchHeaders = {
  accept: 'application/json',
  'sec-fetch-mode': 'cors',
  'sec-fetch-site': 'same-origin',
};
/** One request without a cookie jar. */
const getSession = (origin: string, headers = {}) =>
  request(origin)
    .get('/auth/session')
    .set({ ...fetchHeaders, ...headers });
const isCallback = (url: string) => url.includes('/auth/callback?');

describe.each(['redis', 'memory'] as const)('AUTH_RATE_LIMIT=4, counted in %s', (store) => {
  let world: World;
  beforeEach(async () => {
    await clearCounts();
    const env = { AUTH_RATE_LIMIT: '4', TRUST_PROXY: '1', OAUTH2_SCOPES: 'openid read:profile' };
    world = await createWorld({ store, env });
  });
  afterEach(() => world.close());

  const fromIp = (ip: string, headers = {}) =>
    getSession(world.origin, { 'x-forwarded-for': ip, ...headers });

  test('every response reports the limit, and a request over it gets 429 with Retry-After', async () => {
    const first = await fromIp('192.0.2.1');
    expect(first.status).toBe(200);
    expect(first.headers.ratelimit).toMatch(/^"auth"; r=3; t=(60|59)$/);
    expect(first.headers['ratelimit-policy']).toMatch(/^"auth"; q=4; w=60; pk=:[\w+/=]+:$/);
    expect(first.headers['retry-after']).toBeUndefined();
    expect(await statuses(3, () => fromIp('192.0.2.1'))).toEqual([200, 200, 200]);

    const rejected = await fromIp('192.0.2.1');
    expect(rejected.status).toBe(429);
    expect(rejected.body).toEqual({
      error: 'too_many_requests',
      message: expect.any(String),
      request_id: rejected.headers['x-request-id'],
    });
    expect(rejected.headers['retry-after']).toMatch(/^(60|5\d)$/);
    expect(rejected.headers.ratelimit).toBe(`"auth"; r=0; t=${rejected.headers['retry-after']}`);
    expect(rejected.headers).not.toHaveProperty('x-ratelimit-limit');
  });

  test('rejected requests cause one log line, which names the limit', async () => {
    await statuses(8, () => fromIp('192.0.2.1'));
    const lines = world.latchkey.logLines.filter((line) => line.includes('a rate limit is reached'));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('"limit":"auth"');
  });

  test('a user over the limit gets an error page and can still sign out', async () => {
    const navigation = { 'sec-fetch-mode': 'navigate', accept: 'text/html' };
    const openLogin = () => request(world.origin).get('/auth/login').set(navigation);
    expect(await statuses(4, openLogin)).toEqual([303, 303, 303, 303]);
    const rejected = await openLogin();
    expect([rejected.status, rejected.headers['content-type']]).toEqual([429, 'text/html; charset=utf-8']);
    expect(rejected.text).toContain('Please wait a moment');
    await request(world.origin)
      .post('/auth/logout')
      .set({ ...fetchHeaders, 'sec-fetch-mode': 'navigate' })
      .expect(200);
  });

  test('without a session the limit applies per IP address (IPv6: per /56), even with a forged session cookie', async () => {
    expect(await statuses(4, () => fromIp('192.0.2.1'))).toEqual([200, 200, 200, 200]);
    expect((await fromIp('192.0.2.2')).status).toBe(200);
    const { session } = cookieNames(world.origin);
    for (const cookie of [`${session}=s%3Aforged.forged`, `${session}=x`, `${session}=`, 'other=1'])
      expect((await fromIp('192.0.2.1', { cookie })).status).toBe(429);
    expect((await fromIp('::ffff:192.0.2.1')).status).toBe(429);

    expect(await statuses(4, () => fromIp('2001:db8:1:2::1'))).toEqual([200, 200, 200, 200]);
    expect((await fromIp('2001:db8:1:ff:a:b:c:d')).status).toBe(429);
    expect((await fromIp('2001:db8:1:100::1')).status).toBe(200);
  });

  test.each([
    ['a port', (count: number) => `203.0.113.6:4000${count}`],
    ['brackets and a port', (count: number) => `[2001:db8::1]:4000${count}`],
    ['no IP address', (count: number) => `garbage${count}`],
    ['nothing', (count: number) => ' '.repeat(count)],
  ])('an address in X-Forwarded-For with %s is one address for the limit', async (_what, addressOf) => {
    let count = 0;
    const send = () => {
      count += 1;
      return fromIp(addressOf(count));
    };
    expect(await statuses(6, send)).toEqual([200, 200, 200, 200, 429, 429]);
  });

  test('with a live session the limit applies per user, regardless of the IP address', async () => {
    const alice = world.browser();
    await world.signIn(alice);
    const bob = world.browser();
    await world.signIn(bob, 'bob'); // two requests per user, all from one IP address
    const { cookie, id } = await readSession(alice);
    const bobsSession = await readSession(bob);

    expect(await statuses(4, () => fromIp('192.0.2.9', { cookie }))).toEqual([200, 200, 200, 200]);
    expect((await fromIp('192.0.2.10', { cookie })).status).toBe(429);
    expect((await fromIp('192.0.2.9', { cookie: bobsSession.cookie })).status).toBe(200);
    expect((await fromIp('192.0.2.9')).status).toBe(200);
    expect(world.latchkey.logLines.join('')).not.toContain(id);
  });

  test('all sessions of one user share one limit, so that signing in again does not raise it', async () => {
    const browsers = [world.browser(), world.browser()];
    for (const browser of browsers) await world.signIn(browser); // two requests each, from one IP address
    const [first, second] = await Promise.all(browsers.map(readSession));
    expect(first!.id).not.toBe(second!.id);
    const from = (session = first!) => fromIp('192.0.2.9', { cookie: session.cookie });
    expect(await statuses(2, () => from(first))).toEqual([200, 200]);
    expect(await statuses(2, () => from(second))).toEqual([200, 200]);
    expect([(await from(first)).status, (await from(second)).status]).toEqual([429, 429]);
  });

  test('the cookie of a session that has ended counts by IP address', async () => {
    const ended = [];
    for (const user of ['alice', 'bob']) {
      const browser = world.browser();
      await world.signIn(browser, user);
      ended.push((await readSession(browser)).cookie);
      await browser.step('/auth/logout', { method: 'POST', from: world.origin });
    }
    const received = [];
    for (const cookie of [...ended, ...ended, ...ended])
      received.push((await fromIp('192.0.2.5', { cookie })).status);
    expect(received).toEqual([200, 200, 200, 200, 429, 429]);
  });

  test('sign-outs without a live session, which store a key each, are limited by IP address', async () => {
    const { login } = cookieNames(world.origin);
    const before = (await redis.keys('latchkey:cancelled:*')).length;
    let last = 0;
    const signOut = () => {
      last += 1;
      const binding = String(last).padStart(43, 'A');
      return request(world.origin)
        .post('/auth/logout')
        .set({ ...fetchHeaders, cookie: `${login}=${binding}`, 'x-forwarded-for': '192.0.2.1' });
    };
    expect(await statuses(6, signOut)).toEqual([204, 204, 204, 204, 429, 429]);
    const stored = (await redis.keys('latchkey:cancelled:*')).length - before;
    expect(stored).toBe(store === 'redis' ? 4 : 0);
  });

  test('a callback over the limit does not redeem its code, which works a minute later', async () => {
    const browser = world.browser();
    const consent = await browser.submit(
      await browser.go('/auth/login'),
      { login: 'alice', password: 'any' },
      { action: '/login' },
    );
    const callback = await browser.submit(
      consent,
      { decision: 'allow' },
      { action: '/consent', until: isCallback },
    );
    expect(await statuses(3, () => browser.fetch('/auth/session'))).toEqual([200, 200, 200]);
    const rejected = await browser.step(callback.url);
    expect([rejected.status, rejected.headers['set-cookie']]).toEqual([429, undefined]);
    expect(world.grants).toEqual([]);

    // Counts in memory cannot be cleared; a different IP address has a count of its own.
    await clearCounts();
    const retried = await browser.step(callback.url, { headers: { 'x-forwarded-for': '192.0.2.77' } });
    expect(retried.status).toBe(303);
    expect(world.grants).toEqual(['authorization_code']);
    const { cookie } = await readSession(browser);
    expect((await fromIp('192.0.2.77', { cookie })).body).toMatchObject({ authenticated: true });
  });

  test('a rejected cross-site request is not counted', async () => {
    const crossSite = () =>
      request(world.origin)
        .post('/auth/logout')
        .set({ ...fetchHeaders, 'sec-fetch-site': 'cross-site' });
    expect(await statuses(6, crossSite)).toEqual([403, 403, 403, 403, 403, 403]);
    expect((await getSession(world.origin)).headers.ratelimit).toContain('r=3');
  });
});

test('instances on one Redis share the counts', async () => {
  await clearCounts();
  const world = await createWorld({ env: { AUTH_RATE_LIMIT: '4' } });
  try {
    const other = await world.startAnotherInstance();
    const first = () => getSession(world.origin);
    const second = () => getSession(other.origin);
    expect([...(await statuses(2, first)), ...(await statuses(2, second))]).toEqual([200, 200, 200, 200]);
    await redis.script('FLUSH'); // like a replica that has become primary
    expect([(await first()).status, (await second()).status]).toEqual([429, 429]);
  } finally {
    await world.close();
  }
});

test('an untrusted proxy cannot set the client IP address', async () => {
  const world = await createWorld({ store: 'memory', env: { AUTH_RATE_LIMIT: '2' } });
  let last = 0;
  const spoofed = () => {
    last += 1;
    return getSession(world.origin, {
      'x-forwarded-for': `192.0.2.${last}`,
      forwarded: `for=192.0.2.${last}`,
    });
  };
  expect(await statuses(3, spoofed)).toEqual([200, 200, 429]);
  await world.close();
});

describe('behind two proxies that are trusted by address', () => {
  let world: World;
  beforeEach(async () => {
    world = await createWorld({
      store: 'memory',
      env: { AUTH_RATE_LIMIT: '2', TRUST_PROXY: 'loopback, 10.0.0.0/8' },
    });
  });
  afterEach(() => world.close());
  const send = (headers: Readonly<Record<string, string>>) => getSession(world.origin, headers);

  test('a port in the address of the first proxy does not hide the client', async () => {
    const from = (client: string) => send({ 'x-forwarded-for': `${client}, 10.0.0.2:5000` });
    expect(await statuses(3, () => from('203.0.113.1:1'))).toEqual([200, 200, 429]);
    expect((await from('203.0.113.2:1')).status).toBe(200);
  });

  test('the address comes from Forwarded (RFC 7239) if there is no X-Forwarded-For', async () => {
    let last = 0;
    const from = (client: string) => {
      last += 1;
      return send({ forwarded: `For="${client}:${last}";proto=https, for=10.0.0.2;by=_x` });
    };
    expect(await statuses(3, () => from('[2001:db8::1]'))).toEqual([200, 200, 429]);
    expect((await from('203.0.113.2')).status).toBe(200);
    const spoofed = { 'x-forwarded-for': '203.0.113.7', forwarded: 'for=203.0.113.8' };
    expect(await statuses(2, () => send(spoofed))).toEqual([200, 200]);
    expect((await send({ 'x-forwarded-for': '203.0.113.7', forwarded: 'for=203.0.113.9' })).status).toBe(429);
  });

  test('an address that is none is logged once, without its value', async () => {
    for (const each of ['strange-value', 'strange-value-2']) await send({ 'x-forwarded-for': each });
    const lines = world.latchkey.logLines.filter((line) => line.includes('no IP addresses'));
    expect(lines).toHaveLength(1);
    expect(world.latchkey.logLines.join()).not.toContain('strange-value');
  });
});

test('AUTH_RATE_LIMIT=0 disables the limit and its headers', async () => {
  const world = await createWorld({ store: 'memory', env: { AUTH_RATE_LIMIT: '0' } });
  const { headers } = await getSession(world.origin);
  expect(Object.keys(headers).filter((name) => name.includes('ratelimit'))).toEqual([]);
  await world.close();
});

describe('AUTH_RATE_LIMIT while Redis is unavailable', () => {
  let latchkey: Latchkey;
  let relay: Awaited<ReturnType<typeof createRelay>>;
  beforeEach(async () => {
    await clearCounts();
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

  const send = () => getSession(latchkey.origin);
  const countLogLines = (text: string) => latchkey.logLines.filter((line) => line.includes(text)).length;

  async function waitUntilLimited(): Promise<void> {
    const deadline = Date.now() + 8_000;
    while ((await send()).status !== 429) {
      if (Date.now() > deadline) throw new Error('requests are still not limited');
      await delay(50);
    }
  }

  test('if Redis is down at startup, requests pass with one warning, and are limited once Redis connects', async () => {
    expect(await statuses(20, send)).toEqual(Array(20).fill(200));
    expect((await send()).headers.ratelimit).toBeUndefined();
    expect(countLogLines('rate limiting disabled')).toBe(1);
    await relay.open();
    await waitUntilLimited();
    expect(countLogLines('rate limiting re-enabled')).toBe(1);
  });

  test('if Redis hangs, requests wait briefly at first and then not at all', async () => {
    await relay.open();
    await waitUntilLimited();
    relay.pause();
    const before = countLogLines('rate limiting disabled');
    const startedAt = Date.now();
    expect(await statuses(10, send)).toEqual(Array(10).fill(200));
    expect(Date.now() - startedAt).toBeLessThan(900);
    expect(countLogLines('rate limiting disabled')).toBe(before + 1);
    relay.resume();
    await waitUntilLimited();
  });
});

describe('rejected callbacks', () => {
  test('more than a hundred callbacks with invented codes per minute get 429; a login from another address still works', async () => {
    const world = await createWorld({ env: { AUTH_RATE_LIMIT: '600', TRUST_PROXY: '1' } });
    const attacker = world.browser();
    const from = (address: string) => ({ headers: { 'x-forwarded-for': address } });
    const callbackOf = async (address: string) => {
      const { location } = (await attacker.step('/auth/login', from(address))).headers;
      const state = new URL(location!).searchParams.get('state')!;
      const query = new URLSearchParams({ code: 'invented', state, iss: world.provider.issuer });
      return attacker.step(`/auth/callback?${query}`, from(address));
    };
    const results: number[] = [];
    for (let count = 0; count < 102; count += 1) results.push((await callbackOf('192.0.2.1')).status);
    expect(results.slice(0, 100).every((each) => each === 400)).toBe(true);
    expect(results.slice(100)).toEqual([429, 429]);
    expect((await callbackOf('192.0.2.2')).status).toBe(400);
    expect((await world.signIn(world.browser())).status).toBe(200); // from 127.0.0.1
    await world.close();
  });

  test('callbacks that succeed do not count as rejected, with counts in Redis', async () => {
    await clearCounts();
    const world = await createWorld({ store: 'redis', env: { AUTH_RATE_LIMIT: '3' } });
    for (let count = 0; count < 5; count += 1) {
      await clearCounts('auth'); // this limit counts every callback
      expect((await world.signIn(world.browser())).status).toBe(200);
    }
    await world.close();
  });

  test('a count in Redis that has expired meanwhile is not created again, as it would never expire', async () => {
    const store = createRedisRateLimitStore(redis, 'registration', 'expired');
    await store.decrement('address');
    expect(await redis.keys('latchkey:rate:registration:expired:*')).toEqual([]);
  });
});
