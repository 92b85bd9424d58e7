import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { Secret } from '../../src/crypto/secret.ts';
import { createMemoryProviderLogouts } from '../../src/stores/memory/provider-logouts.ts';
import type { RedisConnection } from '../../src/stores/redis/connection.ts';
import { createRedisProviderLogouts } from '../../src/stores/redis/provider-logouts.ts';
import { loginsEndedForMs, type ProviderLogouts } from '../../src/tokens/provider-logouts.ts';
import { type ConnectedCluster, connectToCluster } from '../support/redis-topologies.ts';
import { testRedisUrl } from '../support/test-redis.ts';

const redis = new Redis(testRedisUrl(), { lazyConnect: true });
const now = () => Date.now();
const secret = new Secret('a-secret-for-tests-that-is-long-enough');
let cluster: ConnectedCluster;
const create = (secrets = [secret], registration = 'a-registration', connection: RedisConnection = redis) =>
  createRedisProviderLogouts({ redis: connection, secrets, registration, now });
const keys = async () => (await redis.keys('latchkey:*:a-registration:*')).sort();

beforeAll(async () => {
  await redis.connect();
  cluster = await connectToCluster();
});
beforeEach(() => redis.flushdb());
afterAll(async () => {
  redis.disconnect();
  await cluster.close();
});

describe.each([
  ['memory', () => createMemoryProviderLogouts(now)],
  ['Redis', () => create()],
  ['a cluster', () => create([secret], randomUUID(), cluster.redis)],
])('in %s', (_name, createLogouts) => {
  let logouts: ProviderLogouts;
  beforeEach(() => {
    logouts = createLogouts();
  });

  test('what was done about a logout token is known until the token is no longer valid', async () => {
    expect(await logouts.progressOf('one')).toBeUndefined();
    await logouts.remember({ id: 'one', validUntil: now() + 60_000 }, 'deferred');
    expect([await logouts.progressOf('one'), await logouts.progressOf('other')]).toEqual([
      'deferred',
      undefined,
    ]);
    await logouts.remember({ id: 'one', validUntil: now() + 60_000 }, 'applied');
    expect(await logouts.progressOf('one')).toBe('applied');
  });

  test('a token that has expired meanwhile can be remembered', async () => {
    await logouts.remember({ id: 'one', validUntil: now() - 60_000 }, 'applied');
  });

  test.each([
    ['session', { sid: 'its-session' }],
    ['user', { sub: 'alice' }],
  ])(
    'a logout of a %s ends the logins that began before it, and no later or other ones',
    async (kind, of) => {
      const receivedAt = now();
      await logouts.endLogins({ of, sub: 'alice', receivedAt });
      const alice = { subject: 'alice', sid: 'its-session' };
      expect(await logouts.isLoginEnded(alice, receivedAt)).toBe(true);
      expect(await logouts.isLoginEnded(alice, receivedAt + 1)).toBe(false);
      const otherSession = { subject: 'alice', sid: 'another' };
      expect(await logouts.isLoginEnded(otherSession, receivedAt)).toBe(kind === 'user');
      expect(await logouts.isLoginEnded({ subject: 'alice' }, receivedAt)).toBe(true); // nobody knows its session
      expect(await logouts.isLoginEnded({ subject: 'bob', sid: 'alice' }, receivedAt)).toBe(false);
      expect(await logouts.isLoginEnded({ subject: 'its-session' }, receivedAt)).toBe(false);
    },
  );

  test('a logout ends no logins of a user whose name contains that of another user', async () => {
    const receivedAt = now();
    await logouts.endLogins({ of: { sub: 'without sid alice' }, sub: undefined, receivedAt });
    expect(await logouts.isLoginEnded({ subject: 'without sid alice' }, receivedAt)).toBe(true);
    expect(await logouts.isLoginEnded({ subject: 'alice' }, receivedAt)).toBe(false);
  });
});

test('keys in Redis show no user and no session, and expire', async () => {
  const logouts = create();
  await logouts.remember({ id: 'token-id', validUntil: now() + 60_000 }, 'applied');
  await logouts.endLogins({ of: { sub: 'alice' }, sub: 'alice', receivedAt: now() });
  await logouts.endLogins({ of: { sid: 'its-session' }, sub: undefined, receivedAt: now() });
  const stored = await keys();
  expect(stored).toHaveLength(3);
  expect(stored.join()).not.toMatch(/alice|its-session|token-id/);
  for (const key of stored) {
    const leftMs = await redis.pttl(key);
    expect([key, leftMs > 0 && leftMs <= loginsEndedForMs]).toEqual([key, true]);
  }
});

test('an instance with a new secret finds what one with the old secret has written, and another client does not', async () => {
  const newSecret = new Secret('another-secret-for-tests-that-is-long');
  await create().remember({ id: 'one', validUntil: now() + 60_000 }, 'applied');
  await create().endLogins({ of: { sub: 'alice' }, sub: 'alice', receivedAt: 5 });
  const rotated = create([newSecret, secret]);
  expect(await rotated.progressOf('one')).toBe('applied');
  expect(await rotated.isLoginEnded({ subject: 'alice' }, 5)).toBe(true);
  expect(await create([secret], 'another').progressOf('one')).toBeUndefined();
  expect(await create([secret], 'another').isLoginEnded({ subject: 'alice' }, 5)).toBe(false);
});

test('the memory of a process holds a limited number of logouts', async () => {
  const logouts = createMemoryProviderLogouts(now);
  await logouts.endLogins({ of: { sub: 'the first' }, sub: undefined, receivedAt: now() });
  for (let count = 0; count < 65_536; count += 1)
    await logouts.endLogins({ of: { sub: `user ${count}` }, sub: undefined, receivedAt: now() });
  expect(await logouts.isLoginEnded({ subject: 'the first' }, 0)).toBe(false);
  expect(await logouts.isLoginEnded({ subject: 'user 0' }, 0)).toBe(true);
});
