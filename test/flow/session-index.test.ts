import { randomUUID } from 'node:crypto';
import { jest } from '@jest/globals';
import { Cluster, Redis } from 'ioredis';
import { pino } from 'pino';
import { Secret } from '../../src/crypto/secret.ts';
import { createMemorySessionIndex } from '../../src/stores/memory/indexed-sessions.ts';
import { createMemoryTokenStore } from '../../src/stores/memory/token-store.ts';
import type { RedisConnection } from '../../src/stores/redis/connection.ts';
import { createRedisSessionIndex } from '../../src/stores/redis/indexed-sessions.ts';
import { createRedisTokenStore } from '../../src/stores/redis/token-store.ts';
import { elapsedMs } from '../../src/time/elapsed.ts';
import type { SessionIndex, SessionSelector } from '../../src/tokens/indexed-sessions.ts';
import { type TokenRecord, type TokenStore, UnreadableRecordError } from '../../src/tokens/token-store.ts';
import { createLatch } from '../support/latch.ts';
import { connectToCluster, waitFor } from '../support/redis-topologies.ts';
import { testRedisUrl } from '../support/test-redis.ts';

const lifetime = { idleSeconds: 1_200, absoluteSeconds: 10_000 };
const log = pino({ level: 'silent' });
const secrets = [new Secret('the-first-secret-of-these-tests-0123')];
const sessionEndEvents = { publish: () => {}, publishChange: () => {} };
const ended = { kind: 'ended', by: 'administrator' } as const;
let offsetMs = 0;
const now = () => Date.now() + offsetMs;
const elapsed = () => elapsedMs() + offsetMs;

let redis: Redis;
let cluster: Cluster;
let closeCluster: () => Promise<void>;
beforeAll(async () => {
  redis = new Redis(testRedisUrl(), { enableAutoPipelining: true }).setMaxListeners(100);
  ({ redis: cluster, close: closeCluster } = await connectToCluster());
});
afterAll(async () => {
  await redis.quit();
  await closeCluster();
});

interface Stores {
  readonly index: SessionIndex;
  readonly store: TokenStore;
}

function inMemory(): Stores {
  const index = createMemorySessionIndex(now);
  return { index, store: createMemoryTokenStore(lifetime, now, sessionEndEvents, index, elapsed) };
}

function inRedis(connection: RedisConnection, registration: string, used = secrets, life = lifetime): Stores {
  const shared = { redis: connection, secrets: used, registration, lifetime: life, now, elapsed };
  const index = createRedisSessionIndex({ ...shared, log });
  const waitForReplicas = async () => {};
  return { index, store: createRedisTokenStore({ ...shared, waitForReplicas, sessionEndEvents, index }) };
}

const opened: SessionIndex[] = [];
const open = (stores: Stores): Stores => {
  opened.push(stores.index);
  return stores;
};
beforeEach(() => {
  offsetMs = 0;
});
afterEach(() => {
  for (const each of opened.splice(0)) each.close();
});

const record = (sub?: string, sid?: string): TokenRecord => ({
  tokens: { accessToken: 'a', tokenType: 'bearer', scope: [], issuedAt: now(), refreshToken: 'r' },
  user: sub === undefined ? {} : { sub },
  ...(sub !== undefined &&
    sid !== undefined && { identity: { issuer: 'https://issuer.test', subject: sub, sid } }),
  signedInAt: now(),
});

async function all(index: SessionIndex): Promise<string[]> {
  const ids = new Set<string>();
  for await (const { id } of index.all()) ids.add(id);
  return [...ids].sort();
}

/** `connection`, but calls of `method` go through `change`. */
function intercept(
  connection: RedisConnection,
  method: string,
  change: (call: () => Promise<unknown>, args: readonly unknown[]) => Promise<unknown>,
): RedisConnection {
  return new Proxy(connection, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      if (name !== method) return value.bind(target);
      return (...args: unknown[]) => change(() => value.apply(target, args), args);
    },
  });
}

/** The names of all keys of a registration, on every node. */
async function namesOf(connection: RedisConnection, registration: string): Promise<string[]> {
  const nodes = connection instanceof Cluster ? connection.nodes('master') : [connection];
  return (await Promise.all(nodes.map((node) => node.keys(`*${registration}*`)))).flat();
}

describe.each([
  ['memory', () => inMemory()],
  ['Redis', () => inRedis(redis, randomUUID())],
  ['a cluster', () => inRedis(cluster, randomUUID())],
] as const)('the session index in %s', (_name, create) => {
  let index: SessionIndex;
  let store: TokenStore;
  let [one, two, three]: string[] = [];
  beforeEach(() => {
    ({ index, store } = open(create()));
    [one, two, three] = [randomUUID(), randomUUID(), randomUUID()];
  });
  const find = async (selector: SessionSelector, max = 10) =>
    (await index.find(selector, max)).map(({ id }) => id);

  test('sessions are found by their user, last used first, and by the session at the provider', async () => {
    await store.put(one!, record('alice', 'sid-1'));
    offsetMs += 1_000;
    await store.put(two!, record('alice', 'sid-2'));
    await store.put(three!, record('bob', 'sid-3'));
    expect(await find({ sub: 'alice' })).toEqual([two, one]);
    expect(await find({ sub: 'alice' }, 1)).toEqual([two]);
    expect(await find({ sid: 'sid-1' })).toEqual([one]);
    expect(await find({ sid: 'alice' })).toEqual([]);
    expect(await find({ sub: 'sid-1' })).toEqual([]);
    expect(await all(index)).toEqual([one, two, three].sort());
    expect(await index.count()).toBe(3);
  });

  test('a session without a sub is in the list of all sessions only', async () => {
    await store.put(one!, record());
    expect(await all(index)).toEqual([one]);
    expect(await find({ sub: 'undefined' })).toEqual([]);
  });

  test('a session that ended is no longer listed', async () => {
    for (const id of [one!, two!]) await store.put(id, record('alice', 'sid-1'));
    await store.take(one!, ended);
    await store.update(two!, async () => undefined);
    expect(await find({ sub: 'alice' })).toEqual([]);
    expect(await find({ sid: 'sid-1' })).toEqual([]);
    expect(await all(index)).toEqual([]);
    expect(await index.count()).toBe(0);
  });

  test('the time of the last use is updated while the session is used, every five minutes at most', async () => {
    await store.put(one!, record('alice'));
    const lastUsedAt = async () => (await index.find({ sub: 'alice' }, 1))[0]!.lastUsedAt;
    const signedInAt = await lastUsedAt();
    offsetMs += 301_000;
    await store.get(one!);
    expect(await lastUsedAt()).toBe(signedInAt);
    await store.get(one!, { touch: true });
    await waitFor(async () => (await lastUsedAt()) - signedInAt >= 301_000); // the request does not wait for it
  });

  test('a session that is in use is listed again after its entry was lost, for example in a failover', async () => {
    await store.put(one!, record('alice', 'sid-1'));
    await index.remove(one!, record('alice', 'sid-1'));
    expect(await find({ sub: 'alice' })).toEqual([]);
    offsetMs += 301_000;
    await store.get(one!, { touch: true });
    const lists = async () =>
      JSON.stringify([await find({ sub: 'alice' }), await find({ sid: 'sid-1' }), await all(index)]);
    await waitFor(async () => (await lists()) === JSON.stringify([[one], [one], [one]]));
  });

  test('the sweep removes the entry of a login that crashed before its record was stored, once it would have expired', async () => {
    const times = { lastUsedAt: now(), endsAt: now() + lifetime.idleSeconds * 1000 };
    await index.add(one!, record('alice', 'sid-1'), times);
    await index.sweep();
    expect(await find({ sub: 'alice' })).toEqual([one]); // its login may be in progress
    offsetMs += lifetime.idleSeconds * 1000;
    expect(await index.count()).toBe(0);
    await index.sweep();
    expect(await find({ sub: 'alice' })).toEqual([]);
    expect(await find({ sid: 'sid-1' })).toEqual([]);
    expect(await all(index)).toEqual([]);
  });

  test('an entry that nobody can store a record for can be removed without its record', async () => {
    const times = { lastUsedAt: now(), endsAt: now() + 1_000 };
    await index.add(one!, record('alice', 'sid-1'), times);
    await index.forget(one!, { sub: 'alice' });
    expect(await find({ sub: 'alice' })).toEqual([]);
  });
});

describe.each([
  ['Redis', () => redis],
  ['a cluster', () => cluster],
] as const)('the session index in %s, shared by instances', (_name, connection) => {
  test('the sweep keeps the entries of sessions that live longer than the entry says, and does not look at them again soon', async () => {
    const { index, store } = open(inRedis(connection(), randomUUID()));
    const id = randomUUID();
    await store.put(id, record('alice'));
    await index.add(id, record('alice'), { lastUsedAt: now(), endsAt: now() - 1_000 }); // as after an hour of small touches
    expect(await index.count()).toBe(0);
    await index.sweep();
    expect((await index.find({ sub: 'alice' }, 10)).map((each) => each.id)).toEqual([id]);
    expect(await index.count()).toBe(1);
  });

  test('a request in a live session costs one command; its entry is updated together with a touch', async () => {
    const commands: string[] = [];
    const counting = new Proxy(connection(), {
      get(target, name) {
        const value = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          commands.push(String(name));
          return value.apply(target, args);
        };
      },
    });
    const { store } = open(inRedis(counting, randomUUID()));
    const id = randomUUID();
    await store.put(id, record('alice', 'sid-1'));
    await store.get(id, { touch: true });
    await waitFor(() => commands.at(-1) === 'exists'); // the end of the update
    commands.length = 0;
    await store.get(id, { touch: true });
    expect(commands).toEqual(['getBuffer']);
    offsetMs += 61_000;
    commands.length = 0;
    await store.get(id, { touch: true });
    expect(commands).toEqual(['getBuffer', 'pexpire', 'pexpire']); // the entry is recent enough
    offsetMs += 301_000;
    commands.length = 0;
    await store.get(id, { touch: true });
    await waitFor(() => commands.at(-1) === 'exists');
    expect(commands).toEqual(['getBuffer', 'eval', 'pexpire', 'pexpire', 'eval', 'eval', 'exists']);
  });

  test('the sweep finds whatever a login has written to the index that failed at one of its lists', async () => {
    for (const failing of [1, 2, 3]) {
      const registration = randomUUID();
      let writes = 0;
      const unreachable = intercept(connection(), 'eval', (write) => {
        writes += 1;
        return writes === failing ? Promise.reject(new Error('the node of this list is down')) : write();
      });
      const broken = open(inRedis(unreachable, registration));
      const times = { lastUsedAt: now(), endsAt: now() - 1 };
      await expect(broken.index.add(randomUUID(), record('alice', 'sid-1'), times)).rejects.toThrow();
      await broken.index.sweep();
      expect([failing, await namesOf(connection(), registration)]).toEqual([failing, []]);
    }
  });

  test('a session that ends while its entry is being updated is no longer listed', async () => {
    const registration = randomUUID();
    const { opened: hold, open: release } = createLatch();
    const writes: Promise<unknown>[] = [];
    const slow = intercept(connection(), 'eval', (write, [, , key]) => {
      if (!String(key).includes(':s:') || String(key).includes(':all:')) return write();
      const written = hold.then(write);
      writes.push(written);
      return written;
    });
    const { store: using } = open(inRedis(slow, registration));
    const { store, index } = open(inRedis(connection(), registration));
    const id = randomUUID();
    await store.put(id, record('alice', 'sid-1'));
    await using.get(id, { touch: true });
    await waitFor(() => writes.length === 2);
    await store.take(id, ended);
    release();
    await Promise.all(writes);
    await waitFor(async () => (await index.find({ sub: 'alice' }, 10)).length === 0);
    await waitFor(async () =>
      (await namesOf(connection(), registration)).every((name) => name.endsWith(':ended')),
    );
  });

  test('after the last session has expired, the sweep leaves nothing of it', async () => {
    const registration = randomUUID();
    const { index, store } = open(
      inRedis(connection(), registration, secrets, { idleSeconds: 1, absoluteSeconds: 9 }),
    );
    for (const sid of ['sid-1', 'sid-2']) await store.put(randomUUID(), record('alice', sid));
    const names = () => namesOf(connection(), registration);
    await waitFor(async () => !(await names()).some((name) => name.endsWith(':tokens')));
    expect(await names()).not.toEqual([]);
    await index.sweep();
    expect((await names()).filter((name) => !name.endsWith(':lease'))).toEqual([]);
  });

  test('one instance sweeps every minute, not all of them', async () => {
    const sweeps: number[] = [];
    const counting = (instance: number) =>
      new Proxy(connection(), {
        get(target, name) {
          if (name === 'zrangebyscoreBuffer') sweeps.push(instance);
          const value = Reflect.get(target, name);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
    jest.useFakeTimers({
      doNotFake: [
        'setTimeout',
        'clearTimeout',
        'nextTick',
        'setImmediate',
        'queueMicrotask',
        'performance',
        'Date',
      ],
    });
    try {
      const registration = randomUUID();
      for (const instance of [1, 2, 3]) open(inRedis(counting(instance), registration));
      jest.advanceTimersByTime(60_000);
      await waitFor(() => sweeps.length === 16);
      await connection().ping();
      expect(new Set(sweeps).size).toBe(1);
      expect(sweeps).toHaveLength(16);
    } finally {
      jest.useRealTimers();
    }
  });

  test('no name, subject or provider session is stored in the clear', async () => {
    const registration = randomUUID();
    const { store } = open(inRedis(connection(), registration));
    await store.put(randomUUID(), record('very-special-subject', 'very-special-sid'));
    const names = await namesOf(connection(), registration);
    const lists = names.filter((name) => name.includes(':s:'));
    const members = await Promise.all(lists.map((name) => connection().zrange(name, 0, '-1')));
    expect(lists).toHaveLength(3);
    expect(JSON.stringify([names, members])).not.toMatch(/very-special/);
  });

  test('while SESSION_SECRET is being changed, sessions of both secrets are found, and end everywhere', async () => {
    const registration = randomUUID();
    const newer = new Secret('another-secret-of-these-tests-456789');
    const before = open(inRedis(connection(), registration));
    const after = open(inRedis(connection(), registration, [newer, ...secrets]));
    const [old, fresh] = [randomUUID(), randomUUID()];
    await before.store.put(old, record('alice', 'sid-1'));
    await after.store.put(fresh, record('alice', 'sid-2'));
    const found = async () => (await after.index.find({ sub: 'alice' }, 10)).map(({ id }) => id).sort();
    expect(await found()).toEqual([old, fresh].sort());
    offsetMs += 301_000;
    await after.store.get(old, { touch: true });
    await after.index.count();
    expect(await found()).toEqual([old, fresh].sort());
    const without = open(inRedis(connection(), registration, [newer]));
    await expect(without.store.get(old)).rejects.toMatchObject({ cause: expect.any(UnreadableRecordError) });
    for (const id of [old, fresh]) await after.store.take(id, ended);
    expect(await found()).toEqual([]);
    expect(await all(before.index)).toEqual([]);
  });

  test('the lists of a user expire with the longest possible session, even if nobody sweeps them', async () => {
    const registration = randomUUID();
    const { store } = open(inRedis(connection(), registration));
    await store.put(randomUUID(), record('alice', 'sid-1'));
    const names = (await namesOf(connection(), registration)).filter((name) => name.includes(':s:'));
    expect(names).toHaveLength(3);
    for (const name of names)
      expect(await connection().pttl(name)).toBeGreaterThan(lifetime.absoluteSeconds * 1000);
  });
});
