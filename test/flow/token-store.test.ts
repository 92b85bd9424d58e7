import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { deriveKeys, formatVersion, seal } from '../../src/crypto/sealing.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { AppError } from '../../src/errors.ts';
import type { TokenSet } from '../../src/oauth/token-set.ts';
import { compressedText } from '../../src/stores/compressed-text.ts';
import { createMemorySessionIndex } from '../../src/stores/memory/indexed-sessions.ts';
import { createMemoryTokenStore } from '../../src/stores/memory/token-store.ts';
import { createReplicaWait, type RedisConnection } from '../../src/stores/redis/connection.ts';
import { createRedisTokenStore } from '../../src/stores/redis/token-store.ts';
import {
  LeaseLostError,
  type Lifetime,
  type TokenRecord,
  type TokenStore,
} from '../../src/tokens/token-store.ts';
import { createLatch } from '../support/latch.ts';
import { type ConnectedCluster, connectToCluster } from '../support/redis-topologies.ts';
import { testRedisUrl } from '../support/test-redis.ts';

const lifetime = { idleSeconds: 100, absoluteSeconds: 1000 };
const endedSessions: string[] = [];
const changedSessions: string[] = [];
const sessionEndEvents = {
  publish: (id: string) => void endedSessions.push(id),
  publishChange: (id: string) => void changedSessions.push(id),
};
const secrets = [new Secret('the-first-secret-of-these-tests-0123')];
let offsetMs = 0;
const now = () => Date.now() + offsetMs;
let redis: Redis;
const logged: string[] = [];
const log = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) });

let cluster: ConnectedCluster;
beforeAll(async () => {
  redis = new Redis(testRedisUrl(), { enableAutoPipelining: true });
  cluster = await connectToCluster();
});
afterAll(async () => {
  await redis.quit();
  await cluster.close();
});
/** Connections of single tests, closed after each test even if it fails. */
const connections: Redis[] = [];
beforeEach(() => {
  offsetMs = 0;
  logged.length = 0;
  endedSessions.length = 0;
  changedSessions.length = 0;
});
afterEach(() => {
  for (const each of connections.splice(0)) each.disconnect();
});

function tokens(accessToken: string): TokenSet {
  return {
    accessToken,
    tokenType: 'bearer',
    scope: ['read:data'],
    issuedAt: now(),
    refreshToken: `rt-${accessToken}`,
  };
}
const record = (accessToken: string): TokenRecord => ({
  tokens: tokens(accessToken),
  user: { sub: 'alice' },
  signedInAt: now(),
});
const withAccessToken = (accessToken: string) => async (newest: TokenRecord) => ({
  ...newest,
  tokens: tokens(accessToken),
});
const signedOut = { kind: 'signed_out' } as const;
const accessOf = (found: TokenRecord | undefined) => found?.tokens.accessToken;

const registration = 'registration-one';
const index = createMemorySessionIndex(now);
afterAll(() => index.close());
const redisStore = (
  options: { secrets?: Secret[]; registration?: string; redis?: RedisConnection; lifetime?: Lifetime } = {},
) =>
  createRedisTokenStore({
    redis,
    waitForReplicas: async () => {},
    secrets,
    registration,
    lifetime,
    sessionEndEvents,
    index,
    now,
    elapsed: now,
    ...options,
  });

describe.each([
  ['memory', () => createMemoryTokenStore(lifetime, now, sessionEndEvents, index)],
  ['Redis', () => redisStore()],
  ['a cluster', () => redisStore({ redis: cluster.redis })],
])('the token store in %s', (_name, create) => {
  let store: TokenStore;
  let id: string;
  beforeEach(() => {
    store = create();
    id = randomUUID();
  });

  test('get returns the stored record unchanged', async () => {
    const put = record('a');
    await store.put(id, put);
    expect(await store.get(id)).toEqual(put);
    expect(await store.get(randomUUID())).toBeUndefined();
  });

  test('update passes the newest record to its callback and stores what the callback returns', async () => {
    await store.put(id, record('a'));
    const seen: unknown[] = [];
    const stored = await store.update(id, async (newest) => {
      seen.push(accessOf(newest));
      return { ...newest, tokens: tokens('b') };
    });
    expect(seen).toEqual(['a']);
    expect(accessOf(stored)).toBe('b');
    expect(accessOf(await store.get(id))).toBe('b');
  });

  test('update without a record does not call its callback, and restores nothing', async () => {
    let calls = 0;
    const change = async (newest: TokenRecord) => {
      calls += 1;
      return newest;
    };
    expect(await store.update(id, change)).toBeUndefined();
    expect(calls).toBe(0);
    await store.put(id, record('a'));
    await store.take(id, signedOut);
    expect(await store.update(id, withAccessToken('b'))).toBeUndefined();
    expect(await store.get(id)).toBeUndefined();
  });

  test('update removes the record when its callback returns undefined', async () => {
    await store.put(id, record('a'));
    expect(await store.update(id, async () => undefined)).toBeUndefined();
    expect(await store.get(id)).toBeUndefined();
  });

  test('the store publishes an event for every session it ends, and only those', async () => {
    await store.put(id, record('a'));
    await store.update(id, withAccessToken('b'));
    await store
      .update(id, () => Promise.reject(new Error('the provider is unavailable')))
      .catch(() => undefined);
    expect(endedSessions).toEqual([]);
    await store.update(id, async () => undefined);
    expect(endedSessions).toEqual([id]);
    const another = randomUUID();
    await store.put(another, record('a'));
    await store.take(another, signedOut);
    expect(endedSessions).toEqual([id, another]);
  });

  test('update rejects with the error of its callback and leaves the record unchanged', async () => {
    await store.put(id, record('a'));
    const failure = new Error('the provider is unavailable');
    await expect(store.update(id, () => Promise.reject(failure))).rejects.toBe(failure);
    expect(accessOf(await store.get(id))).toBe('a');
    expect(accessOf(await store.update(id, withAccessToken('b')))).toBe('b'); // the lock was released
  });

  test('updates of one session run one after another, each starting from the record that the previous one stored', async () => {
    await store.put(id, record('0'));
    let running = 0;
    await Promise.all(
      Array.from({ length: 10 }, () =>
        store.update(id, async (newest) => {
          running += 1;
          expect(running).toBe(1);
          await delay(5);
          running -= 1;
          return { ...newest, tokens: tokens(String(Number(accessOf(newest)) + 1)) };
        }),
      ),
    );
    expect(accessOf(await store.get(id))).toBe('10');
  });

  test('updates of different sessions run concurrently', async () => {
    const other = randomUUID();
    await store.put(id, record('a'));
    await store.put(other, record('b'));
    const { opened: hold, open: release } = createLatch();
    const pending = store.update(id, async (newest) => {
      await hold;
      return newest;
    });
    expect(accessOf(await store.update(other, withAccessToken('c')))).toBe('c');
    release();
    await pending;
  });

  test('take removes the record, and a second take finds none', async () => {
    await store.put(id, record('a'));
    expect(accessOf(await store.take(id, signedOut))).toBe('a');
    expect(await store.take(id, signedOut)).toBeUndefined();
    expect(await store.get(id)).toBeUndefined();
  });

  test('take waits for a running update and returns the record that it stored', async () => {
    await store.put(id, record('a'));
    const { opened: hold, open: release } = createLatch();
    const { opened: started, open: begun } = createLatch();
    const update = store.update(id, async (newest) => {
      begun();
      await hold;
      return { ...newest, tokens: tokens('b') };
    });
    await started;
    const take = store.take(id, signedOut);
    release();
    expect(accessOf(await take)).toBe('b');
    await update;
    expect(await store.get(id)).toBeUndefined();
  });

  test('an ended session can never be restored', async () => {
    await store.put(id, record('a'));
    await store.take(id, signedOut);
    await expect(store.put(id, record('b'))).rejects.toMatchObject({ code: 'login_required' });
    expect(await store.update(id, withAccessToken('b'))).toBeUndefined();
    expect(await store.get(id)).toBeUndefined();
  });

  test('take does not wait for an update that takes too long, whose result is then discarded', async () => {
    await store.put(id, record('a'));
    const { opened: hold, open: release } = createLatch();
    const { opened: started, open: begun } = createLatch();
    const update = store.update(id, async (newest) => {
      begun();
      await hold;
      return { ...newest, tokens: tokens('too late') };
    });
    await started;
    expect(accessOf(await store.take(id, signedOut))).toBe('a');
    release();
    expect(await update).toBeUndefined();
    expect(await store.get(id)).toBeUndefined();
  });

  test('the result of an update is discarded with the first reason for which its session ended', async () => {
    const replaced = { kind: 'replaced', successor: 'alice' } as const;
    const endDuringUpdate = async (end: (session: string) => Promise<unknown>) => {
      const session = randomUUID();
      const reasons: unknown[] = [];
      await store.put(session, record('a'));
      const change = async (newest: TokenRecord) => {
        await end(session);
        return { ...newest, tokens: tokens('too late') };
      };
      await store.update(session, change, (discarded, reason) => reasons.push([accessOf(discarded), reason]));
      return reasons;
    };
    expect(await endDuringUpdate((session) => store.take(session, signedOut))).toEqual([
      ['too late', signedOut],
    ]);
    const both = async (session: string) => {
      await store.take(session, replaced);
      await store.take(session, signedOut);
    };
    expect(await endDuringUpdate(both)).toEqual([['too late', replaced]]);
  }, 20_000);

  test('take removes only a record that was passed to beforeRemoval, and none when that rejects', async () => {
    await store.put(id, record('a'));
    const failure = new AppError('temporarily_unavailable');
    await expect(store.take(id, signedOut, () => Promise.reject(failure))).rejects.toMatchObject({
      code: 'temporarily_unavailable',
    });
    expect(accessOf(await store.get(id))).toBe('a');
    const { opened: hold, open: release } = createLatch();
    const { opened: started, open: begun } = createLatch();
    const update = store.update(id, async (newest) => {
      begun();
      await hold; // longer than take waits
      return { ...newest, tokens: tokens('b') };
    });
    await started;
    const seen: unknown[] = [];
    const taken = await store.take(id, signedOut, async (found) => {
      seen.push(accessOf(found));
      release();
      await update;
    });
    expect(seen).toEqual(['a', 'b']);
    expect(accessOf(taken)).toBe('b');
    expect(await store.get(id)).toBeUndefined();
  });

  test('after an update fails, updates reject for all callers until the retry time, and the record is unchanged', async () => {
    await store.put(id, record('a'));
    let calls = 0;
    const failingUpdate = async () => {
      calls += 1;
      await delay(20);
      throw new AppError('temporarily_unavailable', { retryAfterSeconds: 1 });
    };
    const results = await Promise.allSettled([1, 2, 3].map(() => store.update(id, failingUpdate)));
    for (const result of results)
      expect(result).toMatchObject({ reason: { code: 'temporarily_unavailable', retryAfterSeconds: 1 } });
    expect(calls).toBe(1);
    expect(accessOf(await store.get(id))).toBe('a');
    await delay(1_100); // Redis measures this time itself
    expect(accessOf(await store.update(id, withAccessToken('b')))).toBe('b');
  });

  test('a record expires at its absolute limit, however often it is used', async () => {
    await store.put(id, { ...record('a'), signedInAt: now() - (lifetime.absoluteSeconds - 5) * 1000 });
    expect(await store.get(id, { touch: true })).toBeDefined();
    offsetMs = 5_000;
    expect(await store.get(id)).toBeUndefined();
    expect(await store.update(id, withAccessToken('b'))).toBeUndefined();
  });

  test('endsAt returns the time of the idle timeout, or of the absolute limit if that is earlier', async () => {
    const put = record('a');
    await store.put(id, put);
    const idleEnd = (await store.endsAt(id))!;
    expect(Math.abs(idleEnd - (now() + lifetime.idleSeconds * 1000))).toBeLessThan(1500);
    await store.put(id, { ...put, signedInAt: now() - (lifetime.absoluteSeconds - 30) * 1000 });
    expect(Math.abs((await store.endsAt(id))! - (now() + 30_000))).toBeLessThan(1500);
    expect(await store.endsAt(randomUUID())).toBeUndefined();
  });
});

describe('the token store in memory', () => {
  test('an idle session expires; get() extends it only when called with touch, and at most once a minute', async () => {
    const store = createMemoryTokenStore(lifetime, now, sessionEndEvents, index);
    await store.put('s', record('a'));
    offsetMs = 70_000;
    await store.get('s');
    expect(await store.endsAt('s')).toBeLessThan(now() + 31_000);
    await store.get('s', { touch: true });
    expect(await store.endsAt('s')).toBeGreaterThan(now() + 98_000);
    offsetMs = 169_000;
    expect(await store.get('s')).toBeDefined();
    offsetMs = 170_500;
    expect(await store.get('s')).toBeUndefined();
  });
});

describe('the token store in Redis', () => {
  const key = (id: string) => `latchkey:{s:${registration}:${id}}:tokens`;

  test('get() extends both keys of a session only when called with touch, and at most once a minute', async () => {
    const store = redisStore();
    const id = randomUUID();
    await store.put(id, record('a'));
    await redis.set(`latchkey:{s:${registration}:${id}}:data`, '{}');
    const shorten = () =>
      Promise.all([
        redis.pexpire(key(id), 5_000),
        redis.pexpire(`latchkey:{s:${registration}:${id}}:data`, 5_000),
      ]);
    const timesToLive = async () =>
      Promise.all([redis.pttl(key(id)), redis.pttl(`latchkey:{s:${registration}:${id}}:data`)]);
    await shorten();
    await store.get(id);
    for (const each of await timesToLive()) expect(each).toBeLessThanOrEqual(5_000);
    await store.get(id, { touch: true });
    for (const each of await timesToLive()) expect(each).toBeGreaterThan(95_000);
    await shorten();
    await store.get(id, { touch: true });
    for (const each of await timesToLive()) expect(each).toBeLessThanOrEqual(5_000);
    offsetMs = 60_000;
    await store.get(id, { touch: true });
    for (const each of await timesToLive()) expect(each).toBeGreaterThan(95_000);
  });

  test('a changed record is announced, also when the reply to its write was lost; an unchanged one is not', async () => {
    let isReplyLost = false;
    const losingRedis = new Proxy(redis, {
      get(target, name) {
        const value = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        if (name !== 'evalBuffer') return value.bind(target);
        return async (...args: unknown[]) => {
          const reply = await value.apply(target, args);
          if (!isReplyLost) return reply;
          isReplyLost = false;
          throw new Error('Command timed out');
        };
      },
    });
    const store = redisStore({ redis: losingRedis });
    const id = randomUUID();
    await store.put(id, record('a'));
    await store.update(id, async (newest) => newest);
    expect(changedSessions).toEqual([]);
    await store.update(id, withAccessToken('b'));
    expect(changedSessions).toEqual([id]);
    isReplyLost = true;
    await expect(store.update(id, withAccessToken('c'))).rejects.toMatchObject({
      code: 'temporarily_unavailable',
    });
    await store.drain();
    expect(accessOf(await store.get(id))).toBe('c');
    expect(changedSessions).toEqual([id, id]);
  });

  test('an update does not extend the session', async () => {
    const store = redisStore();
    const id = randomUUID();
    await store.put(id, record('a'));
    await redis.pexpire(key(id), 5_000);
    await store.update(id, withAccessToken('b'));
    expect(await redis.pttl(key(id))).toBeLessThanOrEqual(5_000);
  });

  test('records are sealed and cannot be unsealed under another session id', async () => {
    const store = redisStore();
    const [id, other] = [randomUUID(), randomUUID()];
    await store.put(id, record('very-secret-token'));
    const raw = (await redis.getBuffer(key(id)))!;
    expect(raw.includes('very-secret-token')).toBe(false);
    expect(raw.includes('alice')).toBe(false);
    await redis.set(key(other), raw);
    const unavailable = { code: 'temporarily_unavailable', status: 503 };
    await expect(store.get(other)).rejects.toMatchObject(unavailable);
    await redis.set(key(other), 'garbage');
    await expect(store.get(other)).rejects.toMatchObject(unavailable);
  });

  test('a record that no configured secret can unseal is never taken for "no record", and not extended', async () => {
    const newer = new Secret('another-secret-of-these-tests-456789');
    const id = randomUUID();
    await redisStore({ secrets: [newer] }).put(id, record('a'));
    await redis.pexpire(key(id), 5_000);
    const older = redisStore();
    const calls = [
      () => older.get(id, { touch: true }),
      () => older.update(id, withAccessToken('b')),
      () => older.take(id, signedOut),
      () => older.endsAt(id),
    ];
    for (const call of calls) await expect(call()).rejects.toMatchObject({ code: 'temporarily_unavailable' });
    expect(await redis.pttl(key(id))).toBeLessThanOrEqual(5_000);
    expect(accessOf(await redisStore({ secrets: [newer] }).get(id))).toBe('a');
  });

  test('a record of a newer format version is never taken for "no record", and not changed', async () => {
    const store = redisStore();
    const id = randomUUID();
    const [sealingKey] = deriveKeys({ secrets, registration }, 'tokens');
    const text = JSON.stringify({ ...record('a'), v: formatVersion + 1 });
    const newer = seal(sealingKey!, compressedText.encode(text), key(id));
    await redis.set(key(id), newer);
    const calls = [
      () => store.get(id, { touch: true }),
      () => store.update(id, withAccessToken('b')),
      () => store.take(id, signedOut),
      () => store.endsAt(id),
    ];
    for (const call of calls) await expect(call()).rejects.toMatchObject({ code: 'temporarily_unavailable' });
    expect(await redis.getBuffer(key(id))).toEqual(newer);
    expect(await redis.pttl(key(id))).toBe(-1); // not extended
    await redis.del(key(id));
  });

  test('stores of two client registrations do not disturb each other, even under the same session id', async () => {
    const [own, other] = [redisStore(), redisStore({ registration: 'registration-two' })];
    const id = randomUUID();
    await own.put(id, record('a'));
    await redis.pexpire(key(id), 5_000);
    const failure = new AppError('temporarily_unavailable', { retryAfterSeconds: 3 });

    expect(await other.get(id, { touch: true })).toBeUndefined();
    expect(await other.endsAt(id)).toBeUndefined();
    expect(await other.update(id, withAccessToken('b'))).toBeUndefined();
    await own.update(id, async (newest) => {
      await other.put(id, record('of the other')); // does not wait for the lease
      await other.update(id, () => Promise.reject(failure)).catch(() => undefined);
      return newest;
    });
    expect(accessOf(await other.take(id, signedOut))).toBe('of the other');

    expect(await redis.pttl(key(id))).toBeLessThanOrEqual(5_000);
    expect(accessOf(await own.update(id, withAccessToken('b')))).toBe('b'); // neither ended nor in a pause
    await own.put(id, record('c')); // no tombstone
    expect(accessOf(await own.get(id))).toBe('c');
    const source = `latchkey:{s:${registration}:${id}}:tokens`;
    await redis.set(source.replace(registration, 'registration-two'), (await redis.getBuffer(source))!);
    await expect(other.get(id)).rejects.toMatchObject({ code: 'temporarily_unavailable' }); // sealed for its registration
  });

  test('a process that has sent its refresh token takes its lease back, unless another one has sent something too', async () => {
    const store = redisStore();
    const id = randomUUID();
    const lease = `latchkey:{s:${registration}:${id}}:lease`;
    await store.put(id, record('a'));
    await store.update(id, async (newest, confirmAndExtend) => {
      const owner = (await redis.get(lease))!;
      await redis.del(lease);
      await delay(700);
      expect(await redis.exists(lease)).toBe(0); // nothing was sent yet
      await redis.set(lease, owner, 'PX', 2_000);
      await confirmAndExtend();
      await redis.del(lease); // as an outage or a failover does
      while ((await redis.get(lease)) !== `${owner}:sent`) await delay(20);
      expect(await redis.pttl(lease)).toBeGreaterThan(5_000);
      await redis.set(lease, 'a process that has sent nothing');
      while ((await redis.get(lease)) !== `${owner}:sent`) await delay(20);
      await redis.set(lease, 'another process:sent');
      await delay(700);
      expect(await redis.get(lease)).toBe('another process:sent');
      return newest;
    });
    await redis.del(lease);
  });

  test('Redis measures the pause after a failure, so that it is the same for a process whose clock is ahead', async () => {
    const id = randomUUID();
    await redisStore().put(id, record('a'));
    const failure = new AppError('temporarily_unavailable', { retryAfterSeconds: 3 });
    await redisStore()
      .update(id, () => Promise.reject(failure))
      .catch(() => undefined);
    offsetMs = 5_000;
    const late = redisStore().update(id, withAccessToken('b'));
    await expect(late).rejects.toMatchObject({ code: 'temporarily_unavailable', retryAfterSeconds: 3 });
  });

  test('records are sealed with the first secret and unsealed with any configured one', async () => {
    const id = randomUUID();
    await redisStore().put(id, record('a'));
    const newer = new Secret('another-secret-of-these-tests-456789');
    const rotated = redisStore({ secrets: [newer, ...secrets] });
    expect(accessOf(await rotated.get(id))).toBe('a');
    await rotated.update(id, withAccessToken('b'));
    expect(accessOf(await redisStore({ secrets: [newer] }).get(id))).toBe('b');
  });

  test('updates on two instances run one after another, and a long update extends its lease', async () => {
    const second = new Redis(testRedisUrl());
    connections.push(second);
    const [one, two] = [redisStore(), redisStore({ redis: second })];
    const id = randomUUID();
    await one.put(id, record('0'));
    const order: string[] = [];
    await Promise.all(
      [one, two].map((store, index) =>
        store.update(id, async (newest) => {
          order.push(`begin ${index}`);
          await delay(index === 0 ? 5_600 : 100); // longer than one lease
          order.push(`end ${index}`);
          return { ...newest, tokens: tokens(`${accessOf(newest)}+`) };
        }),
      ),
    );
    expect(order.map((each) => each.split(' ')[0])).toEqual(['begin', 'end', 'begin', 'end']);
    expect(accessOf(await one.get(id))).toBe('0++');
  }, 15_000);

  test('confirmAndExtend rejects when the lease is lost, and otherwise extends it', async () => {
    const store = redisStore();
    const id = randomUUID();
    await store.put(id, record('a'));
    const lease = `latchkey:{s:${registration}:${id}}:lease`;
    const delayed = store.update(id, async (newest, confirmAndExtend) => {
      await redis.del(lease);
      await confirmAndExtend();
      return newest;
    });
    await expect(delayed).rejects.toBeInstanceOf(LeaseLostError);
    await store.update(id, async (newest, confirmAndExtend) => {
      expect(await redis.pttl(lease)).toBeLessThanOrEqual(2_000);
      await confirmAndExtend();
      expect(await redis.pttl(lease)).toBeGreaterThan(5_000);
      return newest;
    });
  });

  test('a retry does not send the refresh token again after the lease has expired and been taken back', async () => {
    const store = redisStore();
    const id = randomUUID();
    await store.put(id, record('a'));
    const lease = `latchkey:{s:${registration}:${id}}:lease`;
    const retried = store.update(id, async (newest, confirmAndExtend) => {
      await confirmAndExtend();
      await redis.del(lease); // as if this process had been paused after a failed request, and another had refreshed
      while (!(await redis.exists(lease))) await delay(20);
      await confirmAndExtend();
      return newest;
    });
    await expect(retried).rejects.toThrow(LeaseLostError);
  });

  test('an update that lost its lease cannot overwrite a newer record or restore a removed one', async () => {
    const [one, two] = [redisStore(), redisStore()];
    const id = randomUUID();
    await one.put(id, record('a'));
    const stored = await one.update(id, async (newest) => {
      await redis.del(`latchkey:{s:${registration}:${id}}:lease`); // as if this process had paused for longer than its lease
      await two.update(id, withAccessToken('newer'));
      return { ...newest, tokens: tokens('older') };
    });
    expect(accessOf(stored)).toBe('newer');
    expect(accessOf(await one.get(id))).toBe('newer');
    const removed = await one.update(id, async (newest) => {
      await redis.del(`latchkey:{s:${registration}:${id}}:lease`);
      await two.take(id, signedOut);
      return { ...newest, tokens: tokens('restored') };
    });
    expect(removed).toBeUndefined();
    expect(await one.get(id)).toBeUndefined();
  });

  test('refreshed tokens are written and announced as soon as Redis recovers, and until then no update uses the old ones', async () => {
    let isFull = false;
    const failingRedis = new Proxy(redis, {
      get(target, name) {
        const value = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        if ((name === 'eval' || name === 'evalBuffer') && isFull)
          return () => Promise.reject(new Error('OOM command not allowed'));
        return value.bind(target);
      },
    });
    const store = redisStore({ redis: failingRedis });
    const id = randomUUID();
    await store.put(id, record('a'));
    const update = store.update(id, async (newest) => {
      isFull = true;
      return { ...newest, tokens: tokens('b') };
    });
    await expect(update).rejects.toMatchObject({ code: 'temporarily_unavailable' });
    expect(changedSessions).toEqual([]);
    let calls = 0;
    const next = store.update(id, async (newest) => {
      calls += 1;
      return newest;
    });
    await expect(next).rejects.toMatchObject({ code: 'temporarily_unavailable' }); // immediately
    expect(calls).toBe(0);
    let isDrained = false;
    const drained = store.drain().then(() => {
      isDrained = true;
    });
    await delay(300);
    expect(isDrained).toBe(false);
    isFull = false;
    await drained;
    expect(accessOf(await store.get(id))).toBe('b');
    expect(changedSessions).toEqual([id]);
    let changed: TokenRecord | undefined; // rejected until the store learns that its retried write succeeded
    while (!changed) changed = await store.update(id, withAccessToken('c')).catch(() => undefined);
    expect(accessOf(changed)).toBe('c');
  });

  test('after a reconnect, updates are rejected for a moment, so that tokens obtained earlier can be written first', async () => {
    const own = new Redis(testRedisUrl());
    connections.push(own);
    await own.ping();
    const store = redisStore({ redis: own });
    const id = randomUUID();
    await store.put(id, record('a'));
    const reconnected = once(own, 'ready');
    own.disconnect(true);
    await reconnected;
    let calls = 0;
    const change = async (newest: TokenRecord) => {
      calls += 1;
      return newest;
    };
    await expect(store.update(id, change)).rejects.toMatchObject({ code: 'temporarily_unavailable' });
    expect(calls).toBe(0);
    expect(accessOf(await store.get(id))).toBe('a'); // reading the record works meanwhile
    await delay(2_600);
    expect(accessOf(await store.update(id, withAccessToken('b')))).toBe('b');
  });

  test('a write confirmed by too few replicas is logged as a warning; with 0 required replicas nothing is logged', async () => {
    await createReplicaWait(redis, 0, log)();
    expect(logged).toEqual([]);
    await createReplicaWait(redis, 1, log)(); // this Redis has no replica
    expect(logged.join()).toContain('not confirmed by enough Redis replicas');
  });

  test('a session with a short idle timeout is extended often enough to continue while it is used', async () => {
    const store = redisStore({ lifetime: { idleSeconds: 2, absoluteSeconds: 1000 } });
    const id = randomUUID();
    await store.put(id, record('a'));
    for (let use = 0; use < 5; use += 1) {
      await delay(700);
      expect(await store.get(id, { touch: true })).toBeDefined();
    }
    await delay(2_100);
    expect(await store.get(id, { touch: true })).toBeUndefined();
  });

  test('no token record outlives the absolute limit, and the session data only by the hour in which forms are saved', async () => {
    const store = redisStore();
    const id = randomUUID();
    await store.put(id, { ...record('a'), signedInAt: now() - (lifetime.absoluteSeconds - 5) * 1000 });
    await redis.set(`latchkey:{s:${registration}:${id}}:data`, '{}');
    await store.get(id, { touch: true });
    expect(await redis.pttl(key(id))).toBeLessThanOrEqual(5_000);
    expect(await redis.pttl(`latchkey:{s:${registration}:${id}}:data`)).toBeLessThanOrEqual(3_605_000);
  });

  test('an unreachable store rejects with temporarily_unavailable and never returns "no record"', async () => {
    const unreachable = new Redis('redis://127.0.0.1:1', {
      lazyConnect: true,
      enableOfflineQueue: false,
      retryStrategy: () => null,
    });
    unreachable.on('error', () => undefined);
    const store = redisStore({ redis: unreachable });
    const calls = [
      store.get('x'),
      store.put('x', record('a')),
      store.update('x', withAccessToken('b')),
      store.take('x', signedOut),
      store.endsAt('x'),
    ];
    for (const call of calls) {
      const error = await call.catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(AppError);
      expect(error).toMatchObject({ code: 'temporarily_unavailable', status: 503 });
    }
    unreachable.disconnect();
  });
});
