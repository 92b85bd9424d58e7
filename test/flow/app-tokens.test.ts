import { Redis } from 'ioredis';
import request from 'supertest';
import { Secret } from '../../src/crypto/secret.ts';
import type { TokenSet } from '../../src/oauth/token-set.ts';
import type { AppTokenStore } from '../../src/tokens/app-token-store.ts';
import {
  type AppTokenWorld,
  accessTokenSeconds,
  createAppTokenWorld,
  type Instance,
} from '../support/app-tokens.ts';
import { createLatch } from '../support/latch.ts';
import { testRedisUrl } from '../support/test-redis.ts';

let world: AppTokenWorld;
beforeAll(async () => {
  world = await createAppTokenWorld();
});
afterAll(() => world.close());
beforeEach(() => world.reset());

const read = ['read:data'];
const setTokenResponse = (status: number, body: unknown = '', headers: Record<string, string> = {}) =>
  world.faults.set({
    path: /^\/token$/,
    response: {
      status,
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    },
  });
const inParallel = <T>(count: number, work: (index: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, index) => work(index)));
const countDistinct = (tokens: readonly TokenSet[]) =>
  new Set(tokens.map(({ accessToken }) => accessToken)).size;
const rejectionOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no rejection',
    (error: unknown) => error,
  );

describe.each([
  ['memory', () => world.createMemoryStore()],
  ['Redis', () => world.createRedisStore()],
])('two instances that share app tokens in %s', (_name, createStore) => {
  let store: AppTokenStore;
  let one: Instance;
  let two: Instance;
  beforeEach(() => {
    store = createStore();
    [one, two] = [world.createInstance({ store }), world.createInstance({ store })];
  });
  afterEach(() => Promise.all([one.tokens.drain(), two.tokens.drain()]));
  /** The manager of either instance, in turn. */
  const alternate = (index: number) => (index % 2 ? one : two).tokens;

  test('parallel callers share one token request, and the token is reused until it is due for a refresh', async () => {
    world.faults.set({ delayMs: 50 });
    const tokens = await inParallel(100, (index) => alternate(index).current(read));
    expect(countDistinct(tokens)).toBe(1);
    expect(tokens[0]).toMatchObject({ tokenType: 'bearer', scope: read });
    await world.advance(accessTokenSeconds * 0.79);
    expect(
      countDistinct([...tokens, ...(await inParallel(10, (index) => alternate(index).current(read)))]),
    ).toBe(1);
    expect(world.tokenRequestCount()).toBe(1);
    expect([
      ...one.logLines.warn,
      ...one.logLines.error,
      ...two.logLines.warn,
      ...two.logLines.error,
    ]).toEqual([]);
  });

  test('each set of scopes, in whatever order, has its own token; without scopes, the configured ones are used', async () => {
    const configured = world.createInstance({ store, scopes: ['write:data', 'read:data'] });
    const both = await one.tokens.current(['read:data', 'write:data', 'read:data']);
    const same = await two.tokens.current(['write:data', 'read:data']);
    const byDefault = await configured.tokens.current([]);
    const single = await one.tokens.current(read);
    expect(countDistinct([both, same, byDefault])).toBe(1);
    expect(single.scope).toEqual(read);
    expect(both.scope).toEqual(read.concat('write:data'));
    expect(world.tokenRequestCount()).toBe(2);
    expect((await one.tokens.current([])).scope).toEqual([]);
  });

  test('a token near its expiry is refreshed once, and no caller waits for the refresh', async () => {
    const old = await one.tokens.current(read);
    await two.tokens.current(read);
    await world.advance(accessTokenSeconds * 0.91);
    const { opened: hold, open } = createLatch();
    world.faults.set({ hold });
    const meanwhile = await inParallel(50, (index) => alternate(index).current(read));
    expect(countDistinct([old, ...meanwhile])).toBe(1);
    open();
    await Promise.all([one.tokens.drain(), two.tokens.drain()]);
    const after = await inParallel(50, (index) => alternate(index).current(read));
    expect(countDistinct(after)).toBe(1);
    expect(countDistinct([old, ...after])).toBe(2);
    expect(world.tokenRequestCount()).toBe(2);
  });

  test('instances with the same token do not all refresh it at the same moment', async () => {
    const instances = Array.from({ length: 20 }, () => world.createInstance({ store }));
    for (const each of instances) await each.tokens.current(read);
    await world.advance(accessTokenSeconds * 0.85); // within the refresh window, half of which is jitter
    const { opened: hold, open } = createLatch();
    world.faults.set({ hold });
    let refreshing = 0;
    for (const each of instances) {
      await each.tokens.current(read);
      let isIdle = false;
      void each.tokens.drain().then(() => {
        isIdle = true;
      });
      await new Promise(setImmediate);
      if (!isIdle) refreshing += 1;
    }
    expect(refreshing).toBeGreaterThan(0);
    expect(refreshing).toBeLessThan(20);
    open();
    await Promise.all(instances.map((each) => each.tokens.drain()));
    expect(world.tokenRequestCount()).toBe(2);
  });

  test('a failed early refresh affects no caller and is retried after a pause', async () => {
    const old = await one.tokens.current(read);
    await two.tokens.current(read);
    await world.advance(accessTokenSeconds * 0.91);
    setTokenResponse(500);
    for (let round = 0; round < 4; round += 1) {
      expect(countDistinct([old, ...(await inParallel(50, (index) => alternate(index).current(read)))])).toBe(
        1,
      );
      await Promise.all([one.tokens.drain(), two.tokens.drain()]);
    }
    expect(world.tokenRequestCount()).toBe(2);
    world.faults.set(undefined);
    await world.advance(3.001);
    await one.tokens.current(read);
    await one.tokens.drain();
    expect(countDistinct([old, await one.tokens.current(read)])).toBe(2);
    expect(world.tokenRequestCount()).toBe(3);
  });

  test('after a failed request, no caller sends another one until the pause is over', async () => {
    setTokenResponse(500);
    const rejections = await inParallel(500, (index) => rejectionOf(alternate(index).current(read)));
    for (const each of rejections)
      expect(each).toMatchObject({ code: 'temporarily_unavailable', status: 503, retryAfterSeconds: 3 });
    expect(world.tokenRequestCount()).toBe(1);
    expect([...one.logLines.warn, ...two.logLines.warn]).toHaveLength(1);
    await world.advance(2.9);
    expect(await rejectionOf(two.tokens.current(read))).toMatchObject({ retryAfterSeconds: 1 });
    world.faults.set(undefined);
    expect(await rejectionOf(one.tokens.current(read))).toMatchObject({ code: 'temporarily_unavailable' });
    expect(world.tokenRequestCount()).toBe(1);
    await world.advance(0.2);
    expect(countDistinct(await inParallel(10, (index) => alternate(index).current(read)))).toBe(1);
    expect(world.tokenRequestCount()).toBe(2);
  });

  test("the provider's Retry-After applies to all callers", async () => {
    setTokenResponse(429, '', { 'retry-after': '40' });
    await inParallel(20, (index) => rejectionOf(alternate(index).current(read)));
    world.faults.set(undefined);
    await world.advance(39);
    const rejections = await inParallel(20, (index) => rejectionOf(alternate(index).current(read)));
    for (const each of rejections)
      expect(each).toMatchObject({ code: 'temporarily_unavailable', retryAfterSeconds: 1 });
    expect(world.tokenRequestCount()).toBe(1);
    await world.advance(1.001);
    await inParallel(20, (index) => alternate(index).current(read));
    expect(world.tokenRequestCount()).toBe(2);
  });

  test('all instances drop a token that the API rejects, and replace it once for all callers', async () => {
    const old = await one.tokens.current(read);
    await two.tokens.current(read);
    const replacements = await inParallel(50, (index) => alternate(index).replaceRefused(read, old));
    const afterwards = await inParallel(10, (index) => alternate(index).current(read));
    const lateReplacement = await two.tokens.replaceRefused(read, old);
    expect(countDistinct([...replacements, ...afterwards, lateReplacement])).toBe(1);
    expect(countDistinct([old, ...replacements])).toBe(2);
    expect(world.tokenRequestCount()).toBe(2);
    expect(countDistinct([await world.createInstance({ store }).tokens.current(read), ...replacements])).toBe(
      1,
    );
    const newInstance = world.createInstance({ store });
    expect(
      countDistinct([replacements[0]!, await newInstance.tokens.replaceRefused(read, replacements[0]!)]),
    ).toBe(2);
  });

  test('a token that the API rejects during its early refresh is not used again', async () => {
    const old = await one.tokens.current(read);
    await world.advance(accessTokenSeconds * 0.91);
    const { opened: hold, open } = createLatch();
    world.faults.set({ hold, response: { status: 500 } });
    await one.tokens.current(read);
    const rejection = rejectionOf(one.tokens.replaceRefused(read, old));
    open();
    expect(await rejection).toMatchObject({ code: 'temporarily_unavailable' });
    expect(await rejectionOf(one.tokens.current(read))).toMatchObject({ code: 'temporarily_unavailable' });
    expect(world.tokenRequestCount()).toBe(2);
  });

  test('a rejected token is never handed out, even without a replacement', async () => {
    const old = await one.tokens.current(read);
    await two.tokens.current(read);
    setTokenResponse(503, '', { 'retry-after': '5' });
    for (const each of await inParallel(50, (index) =>
      rejectionOf(alternate(index).replaceRefused(read, old)),
    ))
      expect(each).toMatchObject({ code: 'temporarily_unavailable', retryAfterSeconds: 5 });
    expect(await rejectionOf(world.createInstance({ store }).tokens.current(read))).toMatchObject({
      code: 'temporarily_unavailable',
    });
    expect(world.tokenRequestCount()).toBe(2);
    world.faults.set(undefined);
    await world.advance(5.001);
    expect(countDistinct([old, ...(await inParallel(10, (index) => alternate(index).current(read)))])).toBe(
      2,
    );
  });

  test('an API that rejects every token does not cause a token request per API request', async () => {
    let tokens = await one.tokens.replaceRefused(read, await one.tokens.current(read));
    expect(countDistinct([tokens, await two.tokens.current(read)])).toBe(1);
    for (let index = 0; index < 20; index += 1) tokens = await alternate(index).replaceRefused(read, tokens);
    expect(world.tokenRequestCount()).toBe(2);
    await world.advance(1.001);
    expect(countDistinct([tokens, await one.tokens.replaceRefused(read, tokens)])).toBe(2);
  });

  test('a token without expires_in is used until the API rejects it', async () => {
    setTokenResponse(200, { access_token: 'endless', token_type: 'Bearer' });
    const endless = await one.tokens.current(read);
    await world.advance(20 * 86_400);
    expect(await two.tokens.current(read)).toMatchObject({ accessToken: 'endless', scope: read });
    expect(await one.tokens.current(read)).toMatchObject({ accessToken: 'endless' });
    expect(world.tokenRequestCount()).toBe(1);
    world.faults.set(undefined);
    expect(countDistinct([endless, await two.tokens.replaceRefused(read, endless)])).toBe(2);
    expect(world.tokenRequestCount()).toBe(2);
  });

  test('a token with expires_in 0 is used only by the callers that waited for it', async () => {
    setTokenResponse(200, { access_token: 'momentary', token_type: 'Bearer', expires_in: 0 });
    const tokens = await inParallel(10, () => one.tokens.current(read));
    expect(countDistinct(tokens)).toBe(1);
    expect(world.tokenRequestCount()).toBe(1);
    await one.tokens.current(read);
    expect(world.tokenRequestCount()).toBe(2);
  });

  test.each<[string, () => void, object, RegExp]>([
    [
      '400 invalid_request',
      () => setTokenResponse(400, { error: 'invalid_request' }),
      { code: 'app_token_refused' },
      /CLIENT_ID/,
    ],
    ['400 with an empty body', () => setTokenResponse(400), { code: 'app_token_refused' }, /CLIENT_ID/],
    [
      '400 invalid_scope',
      () => setTokenResponse(400, { error: 'invalid_scope' }),
      { code: 'app_token_refused', status: 502 },
      /OAUTH2_APP_SCOPES/,
    ],
    [
      '401 invalid_client',
      () => setTokenResponse(401, { error: 'invalid_client' }, { 'www-authenticate': 'Basic' }),
      { code: 'app_token_refused', status: 502, retryAfterSeconds: undefined },
      /OAUTH2_APP_CLIENT_ID and OAUTH2_APP_CLIENT_SECRET/,
    ],
    [
      '400 unauthorized_client',
      () => setTokenResponse(400, { error: 'unauthorized_client' }),
      { code: 'app_token_refused' },
      /client_credentials/,
    ],
  ])(
    '%s is permanent: every caller gets app_token_refused, and the operator gets one error log line',
    async (_what, fail, error, line) => {
      fail();
      for (const each of await inParallel(50, (index) => rejectionOf(alternate(index).current(read))))
        expect(each).toMatchObject(error);
      expect(world.tokenRequestCount()).toBe(1);
      const lines = [...one.logLines.error, ...two.logLines.error];
      expect(lines).toHaveLength(1);
      expect(lines[0]).toMatch(line);
      expect([...one.logLines.warn, ...two.logLines.warn]).toEqual([]);
    },
  );

  test.each<[string, () => void, number, number]>([
    ['429 with Retry-After', () => setTokenResponse(429, '', { 'retry-after': '7' }), 7, 1],
    ['503 with Retry-After', () => setTokenResponse(503, '', { 'retry-after': '7' }), 7, 1],
    ['503 without Retry-After (retried twice immediately)', () => setTokenResponse(503), 1, 3],
    ['500', () => setTokenResponse(500, { error: 'server_error' }), 3, 1],
    ['502 with an HTML page', () => setTokenResponse(502, '<h1>?</h1>'), 3, 1],
    ['403 with an HTML page, as from a firewall', () => setTokenResponse(403, '<h1>no</h1>'), 3, 1],
    ['a connection reset', () => world.faults.set({ response: 'reset' }), 3, 1],
    ['a response without a token', () => setTokenResponse(200, { hello: 'world' }), 3, 1],
  ])(
    '%s is transient: every caller gets 503 with Retry-After, and the log has one warning',
    async (_what, fail, seconds, requests) => {
      fail();
      for (const each of await inParallel(50, (index) => rejectionOf(alternate(index).current(read))))
        expect(each).toMatchObject({ code: 'temporarily_unavailable', retryAfterSeconds: seconds });
      expect(world.tokenRequestCount()).toBe(requests);
      expect([...one.logLines.warn, ...two.logLines.warn]).toHaveLength(1);
      expect([...one.logLines.error, ...two.logLines.error]).toEqual([]);
    },
  );

  test('a timeout is transient: every caller gets 503 with Retry-After after one request', async () => {
    let requests = 0;
    const timeOut = async () => {
      requests += 1;
      throw new DOMException('x', 'TimeoutError');
    };
    const { tokens } = world.createInstance({ store, fetch: timeOut });
    for (const each of await inParallel(50, () => rejectionOf(tokens.current(read))))
      expect(each).toMatchObject({ code: 'temporarily_unavailable', retryAfterSeconds: 3 });
    expect(requests).toBe(1);
  });
});

describe('app tokens in Redis', () => {
  const newKeys = async (before: readonly string[]) =>
    (await world.redis.keys('latchkey:app-token:*')).filter((each) => !before.includes(each));

  test('app tokens in Redis are encrypted and expire with the token', async () => {
    const before = await newKeys([]);
    const { accessToken } = await world
      .createInstance({ store: world.createRedisStore() })
      .tokens.current(read);
    const keys = (await newKeys(before)).filter((each) => !each.endsWith(':lease'));
    expect(keys).toHaveLength(1);
    const raw = (await world.redis.getBuffer(keys[0]!))!;
    for (const text of [accessToken, 'read:data', 'bearer', world.client.clientId])
      expect(`${keys[0]}${raw.toString('latin1')}`).not.toContain(text);
    expect(await world.redis.pttl(keys[0]!)).toBeLessThanOrEqual(accessTokenSeconds * 1000);
    expect(await world.redis.pttl(keys[0]!)).toBeGreaterThan((accessTokenSeconds - 5) * 1000);
  });

  test('an app token cannot be read by another client or under the key of another scope', async () => {
    const before = await newKeys([]);
    const first = await world.createInstance({ store: world.createRedisStore() }).tokens.current(read);
    const [key] = (await newKeys(before)).filter((each) => !each.endsWith(':lease'));
    const another = world.createInstance({
      store: world.createRedisStore({ registration: 'another client' }),
    });
    expect(countDistinct([first, await another.tokens.current(read)])).toBe(2);
    await world.redis.del(...(await newKeys([...before, key!]))); // removes the keys of that client
    const instance = world.createInstance({ store: world.createRedisStore() });
    await instance.tokens.current(['write:data']);
    const [other] = (await newKeys([...before, key!])).filter((each) => !each.endsWith(':lease'));
    await world.redis.copy(key!, other!, 'REPLACE');
    const moved = await world
      .createInstance({ store: world.createRedisStore() })
      .tokens.current(['write:data']);
    expect(moved.scope).toEqual(['write:data']);
  });

  test('an instance reads app tokens that were sealed with an older secret, and replaces those it cannot decrypt', async () => {
    const newer = new Secret('a-newer-secret-of-these-tests-0123');
    const first = await world.createInstance({ store: world.createRedisStore() }).tokens.current(read);
    const rotated = world.createInstance({
      store: world.createRedisStore({ secrets: [newer, ...world.secrets] }),
    });
    expect(countDistinct([first, await rotated.tokens.current(read)])).toBe(1);
    const foreign = world.createInstance({ store: world.createRedisStore({ secrets: [newer] }) });
    expect(countDistinct([first, await foreign.tokens.current(read)])).toBe(2);
  });
});

describe('app tokens while Redis is unavailable', () => {
  const broken = (name: string) =>
    new Proxy(world.redis, {
      get(target, property) {
        const value = Reflect.get(target, property);
        if (typeof value !== 'function') return value;
        if (property === name) return () => Promise.reject(new Error('Redis is unavailable'));
        return value.bind(target);
      },
    });

  test('a valid token stays in use, and a missing one is requested once per process', async () => {
    const redis = new Redis(testRedisUrl(), { enableOfflineQueue: false, lazyConnect: true });
    await redis.connect();
    const { tokens, logLines } = world.createInstance({ store: world.createRedisStore({ redis }) });
    const first = await tokens.current(read);
    redis.disconnect();
    expect(countDistinct([first, ...(await inParallel(20, () => tokens.current(read)))])).toBe(1);
    expect(logLines.warn).toEqual([]);
    const second = await inParallel(20, () => tokens.current(['write:data']));
    expect(countDistinct(second)).toBe(1);
    expect(world.tokenRequestCount()).toBe(2);
    expect(logLines.warn).toHaveLength(1);
    expect(logLines.warn[0]).toContain('app token store unavailable');
    await world.advance(accessTokenSeconds * 0.95);
    await tokens.current(read);
    await tokens.drain();
    expect(countDistinct([first, await tokens.current(read)])).toBe(2);
    expect(world.tokenRequestCount()).toBe(3);
  });

  test('a process remembers failed requests, including those of early refreshes', async () => {
    const { tokens } = world.createInstance({
      store: world.createRedisStore({ redis: broken('getBuffer') }),
    });
    await tokens.current(['write:data']);
    await world.advance(accessTokenSeconds * 0.91);
    setTokenResponse(400);
    for (let round = 0; round < 5; round += 1) {
      await tokens.current(['write:data']);
      await tokens.drain();
    }
    expect(world.tokenRequestCount()).toBe(2);
    setTokenResponse(500);
    await inParallel(50, () => rejectionOf(tokens.current(read)));
    await inParallel(50, () => rejectionOf(tokens.current(read)));
    expect(world.tokenRequestCount()).toBe(3);
  });

  test('a token that could not be stored is not requested again by the same process', async () => {
    const redis = broken('set');
    const isLease = (args: readonly unknown[]) => String(args[0]).endsWith(':lease');
    const failingWrites = new Proxy(redis, {
      get(target, property) {
        if (property === 'set')
          return (...args: [string, string]) =>
            isLease(args) ? world.redis.set(...args) : Promise.reject(new Error('Redis is unavailable'));
        return Reflect.get(target, property);
      },
    });
    const { tokens, logLines } = world.createInstance({
      store: world.createRedisStore({ redis: failingWrites }),
    });
    expect(countDistinct(await inParallel(20, () => tokens.current(read)))).toBe(1);
    expect(world.tokenRequestCount()).toBe(1);
    expect(logLines.warn).toHaveLength(1);
  });
});

describe('app tokens of a real provider', () => {
  test('an app token has the requested scope and no subject', async () => {
    const { accessToken } = await world.createInstance().tokens.current(['read:data', 'write:data']);
    const { body } = await request(world.provider.introspectionUrl)
      .post('')
      .auth('the-api', 'only-for-this-test')
      .type('form')
      .send({ token: accessToken });
    expect(body).toMatchObject({
      active: true,
      scope: 'read:data write:data',
      client_id: 'latchkey-test',
    });
    expect(body.sub).toBeUndefined();
  });

  test('invalid credentials fail permanently and are logged as an error; a token has only the scopes that were granted', async () => {
    const wrong = world.createInstance({ clientSecret: 'not-the-secret' });
    expect(await rejectionOf(wrong.tokens.current(read))).toMatchObject({ code: 'app_token_refused' });
    expect(wrong.logLines.error).toEqual([expect.stringContaining('OAUTH2_APP_CLIENT_ID')]);
    expect(wrong.logLines.error.join()).not.toContain('not-the-secret');
    const tokens = await world.createInstance().tokens.current(['read:data', 'rule:the-world']);
    expect(tokens.scope).toEqual(read);
  });
});
