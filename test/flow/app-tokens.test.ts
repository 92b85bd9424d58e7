import { Redis } from 'ioredis';
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

let world: AppTokenWorld;
beforeAll(async () => {
  world = await createAppTokenWorld();
});
afterAll(() => world.close());
beforeEach(() => world.reset());

const read = ['read:data'];
const answering = (status: number, body: unknown = '', headers: Record<string, string> = {}) =>
  world.faults.set({
    path: /^\/token$/,
    response: {
      status,
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    },
  });
const many = <T>(count: number, work: (index: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, index) => work(index)));
const distinct = (tokens: readonly TokenSet[]) => new Set(tokens.map(({ accessToken }) => accessToken)).size;
const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'a token',
    (error: unknown) => error,
  );

describe.each([
  ['memory', () => world.createMemoryStore()],
  ['Redis', () => world.createRedisStore()],
])('app tokens of two instances that share %s', (_name, createStore) => {
  let store: AppTokenStore;
  let one: Instance;
  let two: Instance;
  beforeEach(() => {
    store = createStore();
    [one, two] = [world.createInstance({ store }), world.createInstance({ store })];
  });
  afterEach(() => Promise.all([one.tokens.drain(), two.tokens.drain()]));
  const either = (index: number) => (index % 2 ? one : two).tokens;

  test('a token is asked for once however many wait, and then by nobody until its time comes', async () => {
    world.faults.set({ delayMs: 50 });
    const got = await many(100, (index) => either(index).current(read));
    expect(distinct(got)).toBe(1);
    expect(got[0]).toMatchObject({ tokenType: 'bearer', scope: read });
    world.advance(accessTokenSeconds * 0.79);
    expect(distinct([...got, ...(await many(10, (index) => either(index).current(read)))])).toBe(1);
    expect(world.tokenRequestCount()).toBe(1);
    expect([
      ...one.logLines.warn,
      ...one.logLines.error,
      ...two.logLines.warn,
      ...two.logLines.error,
    ]).toEqual([]);
  });

  test('each set of scopes has a token of its own, whatever the order, and no scope means the configured ones', async () => {
    const configured = world.createInstance({ store, scopes: ['write:data', 'read:data'] });
    const both = await one.tokens.current(['read:data', 'write:data', 'read:data']);
    const same = await two.tokens.current(['write:data', 'read:data']);
    const byDefault = await configured.tokens.current([]);
    const single = await one.tokens.current(read);
    expect(distinct([both, same, byDefault])).toBe(1);
    expect(single.scope).toEqual(read);
    expect(both.scope).toEqual(read.concat('write:data'));
    expect(world.tokenRequestCount()).toBe(2);
    expect((await one.tokens.current([])).scope).toEqual([]);
  });

  test('near its end a token is renewed once, and nobody waits for that', async () => {
    const old = await one.tokens.current(read);
    await two.tokens.current(read);
    world.advance(accessTokenSeconds * 0.91);
    const { opened: hold, open } = createLatch();
    world.faults.set({ hold });
    const meanwhile = await many(50, (index) => either(index).current(read));
    expect(distinct([old, ...meanwhile])).toBe(1);
    open();
    await Promise.all([one.tokens.drain(), two.tokens.drain()]);
    const after = await many(50, (index) => either(index).current(read));
    expect(distinct(after)).toBe(1);
    expect(distinct([old, ...after])).toBe(2);
    expect(world.tokenRequestCount()).toBe(2);
  });

  test('instances do not all renew at the same moment', async () => {
    const instances = Array.from({ length: 20 }, () => world.createInstance({ store }));
    for (const each of instances) await each.tokens.current(read);
    world.advance(accessTokenSeconds * 0.85); // the leeway has begun, half of it is left to chance
    const { opened: hold, open } = createLatch();
    world.faults.set({ hold });
    let renewing = 0;
    for (const each of instances) {
      await each.tokens.current(read);
      let isQuiet = false;
      void each.tokens.drain().then(() => {
        isQuiet = true;
      });
      await new Promise(setImmediate);
      if (!isQuiet) renewing += 1;
    }
    expect(renewing).toBeGreaterThan(0);
    expect(renewing).toBeLessThan(20);
    open();
    await Promise.all(instances.map((each) => each.tokens.drain()));
    expect(world.tokenRequestCount()).toBe(2);
  });

  test('a renewal that fails ahead of time disturbs nobody, and is tried again after its pause', async () => {
    const old = await one.tokens.current(read);
    await two.tokens.current(read);
    world.advance(accessTokenSeconds * 0.91);
    answering(500);
    for (let each = 0; each < 4; each += 1) {
      expect(distinct([old, ...(await many(50, (index) => either(index).current(read)))])).toBe(1);
      await Promise.all([one.tokens.drain(), two.tokens.drain()]);
    }
    expect(world.tokenRequestCount()).toBe(2);
    world.faults.set(undefined);
    world.advance(3.001);
    await one.tokens.current(read);
    await one.tokens.drain();
    expect(distinct([old, await one.tokens.current(read)])).toBe(2);
    expect(world.tokenRequestCount()).toBe(3);
  });

  test('a failing server is asked once for everybody, until the pause is over', async () => {
    answering(500);
    const failures = await many(500, (index) => failureOf(either(index).current(read)));
    for (const each of failures)
      expect(each).toMatchObject({ code: 'temporarily_unavailable', status: 503, retryAfterSeconds: 3 });
    expect(world.tokenRequestCount()).toBe(1);
    expect([...one.logLines.warn, ...two.logLines.warn]).toHaveLength(1);
    world.advance(2.9);
    expect(await failureOf(two.tokens.current(read))).toMatchObject({ retryAfterSeconds: 1 });
    world.faults.set(undefined);
    expect(await failureOf(one.tokens.current(read))).toMatchObject({ code: 'temporarily_unavailable' });
    expect(world.tokenRequestCount()).toBe(1);
    world.advance(0.2);
    expect(distinct(await many(10, (index) => either(index).current(read)))).toBe(1);
    expect(world.tokenRequestCount()).toBe(2);
  });

  test('Retry-After holds for everybody', async () => {
    answering(429, '', { 'retry-after': '40' });
    await many(20, (index) => failureOf(either(index).current(read)));
    world.faults.set(undefined);
    world.advance(39);
    const failures = await many(20, (index) => failureOf(either(index).current(read)));
    for (const each of failures)
      expect(each).toMatchObject({ code: 'temporarily_unavailable', retryAfterSeconds: 1 });
    expect(world.tokenRequestCount()).toBe(1);
    world.advance(1.001);
    await many(20, (index) => either(index).current(read));
    expect(world.tokenRequestCount()).toBe(2);
  });

  test('a token that the API refuses is dropped everywhere, and replaced once for all who hold it', async () => {
    const old = await one.tokens.current(read);
    await two.tokens.current(read);
    const renewed = await many(50, (index) => either(index).replaceRefused(read, old));
    const later = await many(10, (index) => either(index).current(read));
    const latecomer = await two.tokens.replaceRefused(read, old);
    expect(distinct([...renewed, ...later, latecomer])).toBe(1);
    expect(distinct([old, ...renewed])).toBe(2);
    expect(world.tokenRequestCount()).toBe(2);
    expect(distinct([await world.createInstance({ store }).tokens.current(read), ...renewed])).toBe(1);
    const newcomer = world.createInstance({ store });
    expect(distinct([renewed[0]!, await newcomer.tokens.replaceRefused(read, renewed[0]!)])).toBe(2);
  });

  test('a token that the API refuses while it is renewed ahead of time is not used again', async () => {
    const old = await one.tokens.current(read);
    world.advance(accessTokenSeconds * 0.91);
    const { opened: hold, open } = createLatch();
    world.faults.set({ hold, response: { status: 500 } });
    await one.tokens.current(read);
    const renewed = failureOf(one.tokens.replaceRefused(read, old));
    open();
    expect(await renewed).toMatchObject({ code: 'temporarily_unavailable' });
    expect(await failureOf(one.tokens.current(read))).toMatchObject({ code: 'temporarily_unavailable' });
    expect(world.tokenRequestCount()).toBe(2);
  });

  test('a refused token serves nobody even while there is no other', async () => {
    const old = await one.tokens.current(read);
    await two.tokens.current(read);
    answering(503, '', { 'retry-after': '5' });
    for (const each of await many(50, (index) => failureOf(either(index).replaceRefused(read, old))))
      expect(each).toMatchObject({ code: 'temporarily_unavailable', retryAfterSeconds: 5 });
    expect(await failureOf(world.createInstance({ store }).tokens.current(read))).toMatchObject({
      code: 'temporarily_unavailable',
    });
    expect(world.tokenRequestCount()).toBe(2);
    world.faults.set(undefined);
    world.advance(5.001);
    expect(distinct([old, ...(await many(10, (index) => either(index).current(read)))])).toBe(2);
  });

  test('an API that refuses every token does not make every request ask for another', async () => {
    let tokens = await one.tokens.replaceRefused(read, await one.tokens.current(read));
    expect(distinct([tokens, await two.tokens.current(read)])).toBe(1);
    for (let each = 0; each < 20; each += 1) tokens = await either(each).replaceRefused(read, tokens);
    expect(world.tokenRequestCount()).toBe(2);
    world.advance(1.001);
    expect(distinct([tokens, await one.tokens.replaceRefused(read, tokens)])).toBe(2);
  });

  test('a token whose end was not told is used until the API refuses it', async () => {
    answering(200, { access_token: 'endless', token_type: 'Bearer' });
    const endless = await one.tokens.current(read);
    world.advance(20 * 86_400);
    expect(await two.tokens.current(read)).toMatchObject({ accessToken: 'endless', scope: read });
    expect(await one.tokens.current(read)).toMatchObject({ accessToken: 'endless' });
    expect(world.tokenRequestCount()).toBe(1);
    world.faults.set(undefined);
    expect(distinct([endless, await two.tokens.replaceRefused(read, endless)])).toBe(2);
    expect(world.tokenRequestCount()).toBe(2);
  });

  test('a token with no lifetime serves those who waited for it, and nobody else', async () => {
    answering(200, { access_token: 'momentary', token_type: 'Bearer', expires_in: 0 });
    const got = await many(10, () => one.tokens.current(read));
    expect(distinct(got)).toBe(1);
    expect(world.tokenRequestCount()).toBe(1);
    await one.tokens.current(read);
    expect(world.tokenRequestCount()).toBe(2);
  });

  test.each<[string, () => void, object, RegExp]>([
    ['400', () => answering(400, { error: 'invalid_request' }), { code: 'app_token_refused' }, /CLIENT_ID/],
    ['400 with an empty body', () => answering(400), { code: 'app_token_refused' }, /CLIENT_ID/],
    [
      'an unknown scope',
      () => answering(400, { error: 'invalid_scope' }),
      { code: 'app_token_refused', status: 502 },
      /OAUTH2_APP_SCOPES/,
    ],
    [
      '401, wrong credentials',
      () => answering(401, { error: 'invalid_client' }, { 'www-authenticate': 'Basic' }),
      { code: 'app_token_refused', status: 502, retryAfterSeconds: undefined },
      /OAUTH2_APP_CLIENT_ID and _SECRET/,
    ],
    ['403 with a page', () => answering(403, '<h1>no</h1>'), { code: 'app_token_refused' }, /CLIENT_ID/],
    [
      'a grant this client may not use',
      () => answering(400, { error: 'unauthorized_client' }),
      { code: 'app_token_refused' },
      /client_credentials/,
    ],
  ])(
    '%s is final: 502 for everybody, and one loud line for the operator',
    async (_what, fail, error, line) => {
      fail();
      for (const each of await many(50, (index) => failureOf(either(index).current(read))))
        expect(each).toMatchObject(error);
      expect(world.tokenRequestCount()).toBe(1);
      const lines = [...one.logLines.error, ...two.logLines.error];
      expect(lines).toHaveLength(1);
      expect(lines[0]).toMatch(line);
      expect([...one.logLines.warn, ...two.logLines.warn]).toEqual([]);
    },
  );

  test.each<[string, () => void, number, number]>([
    ['429 with Retry-After', () => answering(429, '', { 'retry-after': '7' }), 7, 1],
    ['503 with Retry-After', () => answering(503, '', { 'retry-after': '7' }), 7, 1],
    ['503 (asked twice more, as it was not taken up)', () => answering(503), 1, 3],
    ['500', () => answering(500, { error: 'server_error' }), 3, 1],
    ['502 with a page', () => answering(502, '<h1>?</h1>'), 3, 1],
    ['a reset', () => world.faults.set({ response: 'reset' }), 3, 1],
    ['an answer without a token', () => answering(200, { hello: 'world' }), 3, 1],
  ])('%s passes: 503 with Retry-After for everybody, and one line', async (_what, fail, seconds, asked) => {
    fail();
    for (const each of await many(50, (index) => failureOf(either(index).current(read))))
      expect(each).toMatchObject({ code: 'temporarily_unavailable', retryAfterSeconds: seconds });
    expect(world.tokenRequestCount()).toBe(asked);
    expect([...one.logLines.warn, ...two.logLines.warn]).toHaveLength(1);
    expect([...one.logLines.error, ...two.logLines.error]).toEqual([]);
  });

  test('a time-out passes too', async () => {
    let asked = 0;
    const timingOut = async () => {
      asked += 1;
      throw new DOMException('x', 'TimeoutError');
    };
    const { tokens } = world.createInstance({ store, fetch: timingOut });
    for (const each of await many(50, () => failureOf(tokens.current(read))))
      expect(each).toMatchObject({ code: 'temporarily_unavailable', retryAfterSeconds: 3 });
    expect(asked).toBe(1);
  });
});

describe('app tokens in Redis', () => {
  const keysOfTest = async (before: readonly string[]) =>
    (await world.redis.keys('latchkey:app-token:*')).filter((each) => !before.includes(each));

  test('hold nothing that can be read, and are gone when they end', async () => {
    const before = await keysOfTest([]);
    const { accessToken } = await world
      .createInstance({ store: world.createRedisStore() })
      .tokens.current(read);
    const keys = (await keysOfTest(before)).filter((each) => !each.endsWith(':lease'));
    expect(keys).toHaveLength(1);
    const raw = (await world.redis.getBuffer(keys[0]!))!;
    for (const text of [accessToken, 'read:data', 'bearer', world.client.clientId])
      expect(`${keys[0]}${raw.toString('latin1')}`).not.toContain(text);
    expect(await world.redis.pttl(keys[0]!)).toBeLessThanOrEqual(accessTokenSeconds * 1000);
    expect(await world.redis.pttl(keys[0]!)).toBeGreaterThan((accessTokenSeconds - 5) * 1000);
  });

  test('are not shared with another client, nor opened in the place of another scope', async () => {
    const before = await keysOfTest([]);
    const first = await world.createInstance({ store: world.createRedisStore() }).tokens.current(read);
    const [key] = (await keysOfTest(before)).filter((each) => !each.endsWith(':lease'));
    const another = world.createInstance({ store: world.createRedisStore({ client: 'another client' }) });
    expect(distinct([first, await another.tokens.current(read)])).toBe(2);
    await world.redis.del(...(await keysOfTest([...before, key!]))); // so that nothing is left of that client
    const writing = world.createInstance({ store: world.createRedisStore() });
    await writing.tokens.current(['write:data']);
    const [other] = (await keysOfTest([...before, key!])).filter((each) => !each.endsWith(':lease'));
    await world.redis.copy(key!, other!, 'REPLACE');
    const moved = await world
      .createInstance({ store: world.createRedisStore() })
      .tokens.current(['write:data']);
    expect(moved.scope).toEqual(['write:data']);
  });

  test('are opened by an instance that seals with a newer secret, and asked for anew by one that cannot', async () => {
    const newer = new Secret('a-newer-secret-of-these-tests-0123');
    const first = await world.createInstance({ store: world.createRedisStore() }).tokens.current(read);
    const rotated = world.createInstance({
      store: world.createRedisStore({ secrets: [newer, ...world.secrets] }),
    });
    expect(distinct([first, await rotated.tokens.current(read)])).toBe(1);
    const foreign = world.createInstance({ store: world.createRedisStore({ secrets: [newer] }) });
    expect(distinct([first, await foreign.tokens.current(read)])).toBe(2);
  });
});

describe('app tokens while Redis is away', () => {
  const broken = (name: string) =>
    new Proxy(world.redis, {
      get(target, property) {
        const value = Reflect.get(target, property);
        if (typeof value !== 'function') return value;
        if (property === name) return () => Promise.reject(new Error('Redis is away'));
        return value.bind(target);
      },
    });

  test('a valid token goes on serving, and one that is needed is asked for once in the process', async () => {
    const redis = new Redis(process.env.TEST_REDIS_URL!, { enableOfflineQueue: false, lazyConnect: true });
    await redis.connect();
    const { tokens, logLines } = world.createInstance({ store: world.createRedisStore({ redis }) });
    const first = await tokens.current(read);
    redis.disconnect();
    expect(distinct([first, ...(await many(20, () => tokens.current(read)))])).toBe(1);
    expect(logLines.warn).toEqual([]);
    const second = await many(20, () => tokens.current(['write:data']));
    expect(distinct(second)).toBe(1);
    expect(world.tokenRequestCount()).toBe(2);
    expect(logLines.warn).toHaveLength(1);
    expect(logLines.warn[0]).toContain('the store cannot be asked');
    world.advance(accessTokenSeconds * 0.95);
    await tokens.current(read);
    await tokens.drain();
    expect(distinct([first, await tokens.current(read)])).toBe(2);
    expect(world.tokenRequestCount()).toBe(3);
  });

  test('failures are remembered in the process, ahead of time as well', async () => {
    const { tokens } = world.createInstance({
      store: world.createRedisStore({ redis: broken('getBuffer') }),
    });
    await tokens.current(['write:data']);
    world.advance(accessTokenSeconds * 0.91);
    answering(400);
    for (let each = 0; each < 5; each += 1) {
      await tokens.current(['write:data']);
      await tokens.drain();
    }
    expect(world.tokenRequestCount()).toBe(2);
    answering(500);
    await many(50, () => failureOf(tokens.current(read)));
    await many(50, () => failureOf(tokens.current(read)));
    expect(world.tokenRequestCount()).toBe(3);
  });

  test('what was granted before Redis went away is not asked for again', async () => {
    const redis = broken('set');
    const isLease = (args: readonly unknown[]) => String(args[0]).endsWith(':lease');
    const failingWrites = new Proxy(redis, {
      get(target, property) {
        if (property === 'set')
          return (...args: [string, string]) =>
            isLease(args) ? world.redis.set(...args) : Promise.reject(new Error('Redis is away'));
        return Reflect.get(target, property);
      },
    });
    const { tokens, logLines } = world.createInstance({
      store: world.createRedisStore({ redis: failingWrites }),
    });
    expect(distinct(await many(20, () => tokens.current(read)))).toBe(1);
    expect(world.tokenRequestCount()).toBe(1);
    expect(logLines.warn).toHaveLength(1);
  });
});

describe('app tokens at a real provider', () => {
  test('are of the scope that was asked for, and of nobody', async () => {
    const { accessToken } = await world.createInstance().tokens.current(['read:data', 'write:data']);
    const response = await fetch(world.provider.introspectionUrl, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa('the-api:only-of-this-test')}` },
      body: new URLSearchParams({ token: accessToken }),
    });
    const described = (await response.json()) as Record<string, unknown>;
    expect(described).toMatchObject({
      active: true,
      scope: 'read:data write:data',
      client_id: 'latchkey-test',
    });
    expect(described.sub).toBeUndefined();
  });

  test('wrong credentials are final and loud, and a scope that was not granted is not in the token', async () => {
    const wrong = world.createInstance({ clientSecret: 'not-the-secret' });
    expect(await failureOf(wrong.tokens.current(read))).toMatchObject({ code: 'app_token_refused' });
    expect(wrong.logLines.error).toEqual([expect.stringContaining('OAUTH2_APP_CLIENT_ID')]);
    expect(wrong.logLines.error.join()).not.toContain('not-the-secret');
    const tokens = await world.createInstance().tokens.current(['read:data', 'rule:the-world']);
    expect(tokens.scope).toEqual(read);
  });
});
