import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { Secret } from '../../src/crypto/secret.ts';
import { AppError } from '../../src/errors.ts';
import type { TokenSet } from '../../src/oauth/token-set.ts';
import { createMemoryTokenStore } from '../../src/stores/memory/token-store.ts';
import { createReplicaWait } from '../../src/stores/redis/connection.ts';
import { createRedisTokenStore } from '../../src/stores/redis/token-store.ts';
import {
  LeaseLostError,
  type Lifetime,
  type TokenRecord,
  type TokenStore,
} from '../../src/tokens/token-store.ts';
import { createLatch } from '../support/latch.ts';

const lifetime = { idleSeconds: 100, absoluteSeconds: 1000 };
const ended: string[] = [];
const ends = { publish: (id: string) => void ended.push(id) };
const secrets = [new Secret('the-first-secret-of-these-tests-0123')];
let offsetMs = 0;
const now = () => Date.now() + offsetMs;
let redis: Redis;
const logged: string[] = [];
const log = pino({ level: 'trace' }, { write: (line: string) => void logged.push(line) });

beforeAll(() => {
  redis = new Redis(process.env.TEST_REDIS_URL!, { enableAutoPipelining: true });
});
afterAll(() => redis.quit());
/** Connections of single tests, let go of however the test ends. */
const connections: Redis[] = [];
beforeEach(() => {
  offsetMs = 0;
  logged.length = 0;
  ended.length = 0;
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
const renamed = (accessToken: string) => async (newest: TokenRecord) => ({
  ...newest,
  tokens: tokens(accessToken),
});
const accessOf = (found: TokenRecord | undefined) => found?.tokens.accessToken;

const redisStore = (options: { secrets?: Secret[]; redis?: Redis; lifetime?: Lifetime } = {}) =>
  createRedisTokenStore({
    redis,
    waitForReplicas: async () => {},
    secrets,
    lifetime,
    sessionEndEvents: ends,
    now,
    log,
    ...options,
  });

describe.each([
  ['memory', () => createMemoryTokenStore(lifetime, now, ends)],
  ['Redis', () => redisStore()],
])('the token store in %s', (_name, create) => {
  let store: TokenStore;
  let id: string;
  beforeEach(() => {
    store = create();
    id = randomUUID();
  });

  test('returns what was put, whole', async () => {
    const put = record('a');
    await store.put(id, put);
    expect(await store.get(id)).toEqual(put);
    expect(await store.get(randomUUID())).toBeUndefined();
  });

  test('an update gets the newest record and leaves what it returns', async () => {
    await store.put(id, record('a'));
    const seen: unknown[] = [];
    const left = await store.update(id, async (newest) => {
      seen.push(accessOf(newest));
      return { ...newest, tokens: tokens('b') };
    });
    expect(seen).toEqual(['a']);
    expect(accessOf(left)).toBe('b');
    expect(accessOf(await store.get(id))).toBe('b');
  });

  test('an update without a record does nothing, so nothing is brought back', async () => {
    let calls = 0;
    const change = async (newest: TokenRecord) => {
      calls += 1;
      return newest;
    };
    expect(await store.update(id, change)).toBeUndefined();
    expect(calls).toBe(0);
    await store.put(id, record('a'));
    await store.take(id);
    expect(await store.update(id, renamed('b'))).toBeUndefined();
    expect(await store.get(id)).toBeUndefined();
  });

  test('an update that returns nothing removes the record', async () => {
    await store.put(id, record('a'));
    expect(await store.update(id, async () => undefined)).toBeUndefined();
    expect(await store.get(id)).toBeUndefined();
  });

  test('tells of each session that it ends, and of no other', async () => {
    await store.put(id, record('a'));
    await store.update(id, renamed('b'));
    await store.update(id, () => Promise.reject(new Error('the provider is away'))).catch(() => undefined);
    expect(ended).toEqual([]);
    await store.update(id, async () => undefined);
    expect(ended).toEqual([id]);
    const another = randomUUID();
    await store.put(another, record('a'));
    await store.take(another);
    expect(ended).toEqual([id, another]);
  });

  test('an update that fails changes nothing, and the failure arrives as it was', async () => {
    await store.put(id, record('a'));
    const failure = new Error('the provider is away');
    await expect(store.update(id, () => Promise.reject(failure))).rejects.toBe(failure);
    expect(accessOf(await store.get(id))).toBe('a');
    expect(accessOf(await store.update(id, renamed('b')))).toBe('b'); // and nothing stays locked
  });

  test('updates of one session come one after another, each seeing the one before', async () => {
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

  test('updates of different sessions do not wait for each other', async () => {
    const other = randomUUID();
    await store.put(id, record('a'));
    await store.put(other, record('b'));
    const { opened: hold, open: release } = createLatch();
    const held = store.update(id, async (newest) => {
      await hold;
      return newest;
    });
    expect(accessOf(await store.update(other, renamed('c')))).toBe('c');
    release();
    await held;
  });

  test('take removes the record, and the second take finds none', async () => {
    await store.put(id, record('a'));
    expect(accessOf(await store.take(id))).toBe('a');
    expect(await store.take(id)).toBeUndefined();
    expect(await store.get(id)).toBeUndefined();
  });

  test('take waits for an update under way and takes what that update leaves', async () => {
    await store.put(id, record('a'));
    const { opened: hold, open: release } = createLatch();
    const { opened: started, open: begun } = createLatch();
    const update = store.update(id, async (newest) => {
      begun();
      await hold;
      return { ...newest, tokens: tokens('b') };
    });
    await started;
    const take = store.take(id);
    release();
    expect(accessOf(await take)).toBe('b');
    await update;
    expect(await store.get(id)).toBeUndefined();
  });

  test('a session that was ended is never brought back, by nobody', async () => {
    await store.put(id, record('a'));
    await store.take(id);
    await expect(store.put(id, record('b'))).rejects.toMatchObject({ code: 'login_required' });
    expect(await store.update(id, renamed('b'))).toBeUndefined();
    expect(await store.get(id)).toBeUndefined();
  });

  test('an update that takes too long does not hold up take, and what it brings is refused', async () => {
    await store.put(id, record('a'));
    const { opened: hold, open: release } = createLatch();
    const { opened: started, open: begun } = createLatch();
    const update = store.update(id, async (newest) => {
      begun();
      await hold;
      return { ...newest, tokens: tokens('too late') };
    });
    await started;
    expect(accessOf(await store.take(id))).toBe('a');
    release();
    expect(await update).toBeUndefined();
    expect(await store.get(id)).toBeUndefined();
  });

  test("a failure is everyone's answer for as long as it says, and the record is as it was", async () => {
    await store.put(id, record('a'));
    let calls = 0;
    const failing = async () => {
      calls += 1;
      await delay(20);
      throw new AppError('temporarily_unavailable', { retryAfterSeconds: 7 });
    };
    const outcomes = await Promise.allSettled([1, 2, 3].map(() => store.update(id, failing)));
    for (const outcome of outcomes)
      expect(outcome).toMatchObject({ reason: { code: 'temporarily_unavailable', retryAfterSeconds: 7 } });
    expect(calls).toBe(1);
    expect(accessOf(await store.get(id))).toBe('a');
    offsetMs = 7_001;
    expect(accessOf(await store.update(id, renamed('b')))).toBe('b');
  });

  test('a record is over at its absolute limit, however much it was used', async () => {
    await store.put(id, { ...record('a'), signedInAt: now() - (lifetime.absoluteSeconds - 5) * 1000 });
    expect(await store.get(id, { slide: true })).toBeDefined();
    offsetMs = 5_000;
    expect(await store.get(id)).toBeUndefined();
    expect(await store.update(id, renamed('b'))).toBeUndefined();
  });

  test('tells when the session sessionEndEvents: idle time from its last use, never past the absolute limit', async () => {
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
  test('a session that is not used ends; use puts its end off, at most once a minute; looking does not', async () => {
    const store = createMemoryTokenStore(lifetime, now, ends);
    await store.put('s', record('a'));
    offsetMs = 70_000;
    await store.get('s');
    expect(await store.endsAt('s')).toBeLessThan(now() + 31_000);
    await store.get('s', { slide: true });
    expect(await store.endsAt('s')).toBeGreaterThan(now() + 98_000);
    offsetMs = 169_000;
    expect(await store.get('s')).toBeDefined();
    offsetMs = 170_500;
    expect(await store.get('s')).toBeUndefined();
  });
});

describe('the token store in Redis', () => {
  const key = (id: string) => `{sess:${id}}:tokens`;

  test('use puts off the end of both keys of a session, once a minute; looking does not', async () => {
    const store = redisStore();
    const id = randomUUID();
    await store.put(id, record('a'));
    await redis.set(`sess:${id}`, '{}');
    const shorten = () => Promise.all([redis.pexpire(key(id), 5_000), redis.pexpire(`sess:${id}`, 5_000)]);
    const left = async () => Promise.all([redis.pttl(key(id)), redis.pttl(`sess:${id}`)]);
    await shorten();
    await store.get(id);
    for (const each of await left()) expect(each).toBeLessThanOrEqual(5_000);
    await store.get(id, { slide: true });
    for (const each of await left()) expect(each).toBeGreaterThan(95_000);
    await shorten();
    await store.get(id, { slide: true });
    for (const each of await left()) expect(each).toBeLessThanOrEqual(5_000);
    offsetMs = 60_000;
    await store.get(id, { slide: true });
    for (const each of await left()) expect(each).toBeGreaterThan(95_000);
  });

  test('an update leaves the end of the session as it was', async () => {
    const store = redisStore();
    const id = randomUUID();
    await store.put(id, record('a'));
    await redis.pexpire(key(id), 5_000);
    await store.update(id, renamed('b'));
    expect(await redis.pttl(key(id))).toBeLessThanOrEqual(5_000);
  });

  test('holds nothing that can be read, and a record moved to another session opens there for nobody', async () => {
    const store = redisStore();
    const [id, other] = [randomUUID(), randomUUID()];
    await store.put(id, record('very-secret-token'));
    const raw = (await redis.getBuffer(key(id)))!;
    expect(raw.includes('very-secret-token')).toBe(false);
    expect(raw.includes('alice')).toBe(false);
    await redis.set(key(other), raw);
    expect(await store.get(other)).toBeUndefined();
    await redis.set(key(other), 'garbage');
    expect(await store.get(other)).toBeUndefined();
    expect(logged.join()).toContain('cannot be opened');
  });

  test('a new first secret seals, an old one still opens, a foreign one does not', async () => {
    const id = randomUUID();
    await redisStore().put(id, record('a'));
    const newer = new Secret('another-secret-of-these-tests-456789');
    const rotated = redisStore({ secrets: [newer, ...secrets] });
    expect(accessOf(await rotated.get(id))).toBe('a');
    await rotated.update(id, renamed('b'));
    expect(accessOf(await redisStore({ secrets: [newer] }).get(id))).toBe('b');
    expect(await redisStore().get(id)).toBeUndefined();
  });

  test('across instances updates come one after another, and an update outlives its first lease', async () => {
    const second = new Redis(process.env.TEST_REDIS_URL!);
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

  test('who outlived the lease is told before anything is sent, and keeps it for longer once it is', async () => {
    const store = redisStore();
    const id = randomUUID();
    await store.put(id, record('a'));
    const lease = `{sess:${id}}:lease`;
    const heldUp = store.update(id, async (newest, confirmAndExtend) => {
      await redis.del(lease);
      await confirmAndExtend();
      return newest;
    });
    await expect(heldUp).rejects.toBeInstanceOf(LeaseLostError);
    await store.update(id, async (newest, confirmAndExtend) => {
      expect(await redis.pttl(lease)).toBeLessThanOrEqual(2_000);
      await confirmAndExtend();
      expect(await redis.pttl(lease)).toBeGreaterThan(5_000);
      return newest;
    });
  });

  test('who outlived the lease cannot write over what came after it', async () => {
    const [one, two] = [redisStore(), redisStore()];
    const id = randomUUID();
    await one.put(id, record('a'));
    const left = await one.update(id, async (newest) => {
      await redis.del(`{sess:${id}}:lease`); // as if this process had been held up for longer than its lease
      await two.update(id, renamed('newer'));
      return { ...newest, tokens: tokens('older') };
    });
    expect(accessOf(left)).toBe('newer');
    expect(accessOf(await one.get(id))).toBe('newer');
    const gone = await one.update(id, async (newest) => {
      await redis.del(`{sess:${id}}:lease`);
      await two.take(id);
      return { ...newest, tokens: tokens('back from the dead') };
    });
    expect(gone).toBeUndefined();
    expect(await one.get(id)).toBeUndefined();
  });

  test('what a refresh brought is written as soon as the store is back, and nobody spends the old token meanwhile', async () => {
    let isFull = false;
    const filling = new Proxy(redis, {
      get(target, name) {
        const value = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        if (name === 'eval' && isFull) return () => Promise.reject(new Error('OOM command not allowed'));
        return value.bind(target);
      },
    });
    const store = redisStore({ redis: filling });
    const id = randomUUID();
    await store.put(id, record('a'));
    const update = store.update(id, async (newest) => {
      isFull = true;
      return { ...newest, tokens: tokens('b') };
    });
    await expect(update).rejects.toMatchObject({ code: 'temporarily_unavailable' });
    let asked = 0;
    const next = store.update(id, async (newest) => {
      asked += 1;
      return newest;
    });
    await expect(next).rejects.toMatchObject({ code: 'temporarily_unavailable' }); // at once
    expect(asked).toBe(0);
    isFull = false;
    while (accessOf(await store.get(id)) !== 'b') await delay(20);
    let changed: TokenRecord | undefined;
    while (!changed) changed = await store.update(id, renamed('c')).catch(() => undefined); // the writer hears of it last
    expect(accessOf(changed)).toBe('c');
  });

  test('after Redis has come back nobody refreshes for a moment, in which what was granted before is written', async () => {
    const own = new Redis(process.env.TEST_REDIS_URL!);
    connections.push(own);
    await own.ping();
    const store = redisStore({ redis: own });
    const id = randomUUID();
    await store.put(id, record('a'));
    const isBack = once(own, 'ready');
    own.disconnect(true);
    await isBack;
    let asked = 0;
    const change = async (newest: TokenRecord) => {
      asked += 1;
      return newest;
    };
    await expect(store.update(id, change)).rejects.toMatchObject({ code: 'temporarily_unavailable' });
    expect(asked).toBe(0);
    expect(accessOf(await store.get(id))).toBe('a'); // who has a valid token is served all the while
    await delay(1_600);
    expect(accessOf(await store.update(id, renamed('b')))).toBe('b');
  });

  test('a write that too few replicas have is warned of, and none is asked for when none are wanted', async () => {
    await createReplicaWait(redis, 0, log)();
    expect(logged).toEqual([]);
    await createReplicaWait(redis, 1, log)(); // this Redis has no replica
    expect(logged.join()).toContain('not confirmed by enough Redis replicas');
  });

  test('a session with a short idle time slides often enough to live while it is used', async () => {
    const store = redisStore({ lifetime: { idleSeconds: 2, absoluteSeconds: 1000 } });
    const id = randomUUID();
    await store.put(id, record('a'));
    for (let use = 0; use < 5; use += 1) {
      await delay(700);
      expect(await store.get(id, { slide: true })).toBeDefined();
    }
    await delay(2_100);
    expect(await store.get(id, { slide: true })).toBeUndefined();
  });

  test('nothing of a session is kept past its absolute limit', async () => {
    const store = redisStore();
    const id = randomUUID();
    await store.put(id, { ...record('a'), signedInAt: now() - (lifetime.absoluteSeconds - 5) * 1000 });
    await redis.set(`sess:${id}`, '{}');
    await store.get(id, { slide: true });
    for (const each of [key(id), `sess:${id}`]) expect(await redis.pttl(each)).toBeLessThanOrEqual(5_000);
  });

  test('a store that is away is unavailable, never absent', async () => {
    const away = new Redis('redis://127.0.0.1:1', {
      lazyConnect: true,
      enableOfflineQueue: false,
      retryStrategy: () => null,
    });
    away.on('error', () => undefined);
    const store = redisStore({ redis: away });
    const calls = [
      store.get('x'),
      store.put('x', record('a')),
      store.update('x', renamed('b')),
      store.take('x'),
      store.endsAt('x'),
    ];
    for (const call of calls) {
      const error = await call.catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(AppError);
      expect(error).toMatchObject({ code: 'temporarily_unavailable', status: 503 });
    }
    away.disconnect();
  });
});
