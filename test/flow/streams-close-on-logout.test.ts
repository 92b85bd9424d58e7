import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { Secret } from '../../src/crypto/secret.ts';
import { createLogger } from '../../src/logger.ts';
import { createOpenStreams, type OpenStreams } from '../../src/proxy/open-streams.ts';
import { connectRedis, waitUntilReady } from '../../src/stores/redis/connection.ts';
import { createRedisSessionEndEvents } from '../../src/stores/redis/session-end-events.ts';
import { createRedisTokenStore } from '../../src/stores/redis/token-store.ts';
import type { Lifetime, TokenRecord, TokenStore } from '../../src/tokens/token-store.ts';
import { waitUntil } from '../hostile/support/wire.ts';

const log = createLogger('silent');

describe('streams of sessions on one Redis', () => {
  const opened: (() => void)[] = [];
  afterEach(() => {
    for (const close of opened.splice(0)) close();
  });

  interface Instance {
    readonly redis: Redis;
    readonly store: TokenStore;
    readonly streams: OpenStreams;
  }

  async function instance({
    idleSeconds = 100,
    absoluteSeconds = 1000,
  }: Partial<Lifetime> = {}): Promise<Instance> {
    const redis = connectRedis(new Secret(process.env.TEST_REDIS_URL!), log) as Redis;
    await waitUntilReady(redis);
    const ends = createRedisSessionEndEvents(redis, log);
    const lifetime = { idleSeconds, absoluteSeconds };
    const secrets = [new Secret('the-first-secret-of-these-tests-0123')];
    const confirmed = async () => {};
    const store = createRedisTokenStore({
      redis,
      waitForReplicas: confirmed,
      secrets,
      lifetime,
      sessionEndEvents: ends,
      now: Date.now,
      log,
    });
    let isListening = () => {};
    const listening = new Promise<void>((resolve) => {
      isListening = resolve;
    });
    const streams = createOpenStreams({
      sessionEndEvents: {
        listen: (heard, missed) =>
          ends.listen(heard, () => {
            isListening();
            missed();
          }),
      },
      endsAt: store.endsAt,
      now: Date.now,
      log,
    });
    await listening;
    opened.push(() => {
      streams.closeAll();
      ends.close();
      redis.disconnect();
    });
    return { redis, store, streams };
  }

  const record = (signedInAt = Date.now()): TokenRecord => ({
    tokens: { accessToken: 'a', tokenType: 'bearer', scope: [], issuedAt: signedInAt },
    user: { sub: 'alice' },
    signedInAt,
  });

  /** A stream, and when and why it was ended. */
  function openStream({ streams }: Instance, id: string) {
    const stream = { ended: [] as string[], at: 0, forget: () => {} };
    stream.forget = streams.open(id, (why) => {
      stream.ended.push(why);
      stream.at = Date.now();
    });
    return stream;
  }

  test('1,000 streams over 1,000 sessions and 1,000 of one end within a second of the logouts made elsewhere', async () => {
    const [here, there] = [await instance(), await instance()];
    const ids = Array.from({ length: 1_000 }, () => randomUUID());
    const shared = randomUUID();
    await Promise.all([...ids, shared].map((id) => there.store.put(id, record())));
    const streams = [...ids, ...ids.map(() => shared)].map((id) => openStream(here, id));
    const bystander = randomUUID();
    await there.store.put(bystander, record());
    const untouched = openStream(here, bystander);
    const begunAt = Date.now();
    await Promise.all([...ids, shared].map((id) => there.store.take(id)));
    const takenAt = Date.now();
    await waitUntil(() => streams.every(({ ended }) => ended.length > 0));
    expect(streams.every(({ ended }) => ended.join() === 'session_ended')).toBe(true);
    expect(streams.every(({ at }) => at >= begunAt && at < takenAt + 1_000)).toBe(true);
    expect(untouched.ended).toEqual([]);
  });

  test('a stream ends when the provider ended the login, on another instance too', async () => {
    const [here, there] = [await instance(), await instance()];
    const id = randomUUID();
    await there.store.put(id, record());
    const stream = openStream(here, id);
    await there.store.update(id, async () => undefined);
    await waitUntil(() => stream.ended.length === 1);
  });

  test('a stream ends at the idle end of its session, which it does not put off', async () => {
    const here = await instance({ idleSeconds: 1 });
    const id = randomUUID();
    const begunAt = Date.now();
    await here.store.put(id, record());
    const stream = openStream(here, id);
    await waitUntil(() => stream.ended.length === 1);
    expect(stream.at - begunAt).toBeGreaterThanOrEqual(990);
  });

  test('a stream ends at the absolute end of its session, however much that is used', async () => {
    const here = await instance({ absoluteSeconds: 1000 });
    const id = randomUUID();
    const signedInAt = Date.now() - 999_000;
    await here.store.put(id, record(signedInAt));
    const stream = openStream(here, id);
    await here.store.get(id, { slide: true });
    await waitUntil(() => stream.ended.length === 1);
    expect(stream.at).toBeGreaterThanOrEqual(signedInAt + 1_000_000);
  });

  test('a stream that is opened while its session ends is ended', async () => {
    const [here, there] = [await instance(), await instance()];
    const id = randomUUID();
    await there.store.put(id, record());
    await there.store.take(id); // heard before the stream is known
    const stream = openStream(here, id);
    await waitUntil(() => stream.ended.length === 1);
  });

  test('a logout that nobody heard of ends the stream as soon as the connection is back', async () => {
    const [here, there] = [await instance(), await instance()];
    const id = randomUUID();
    await there.store.put(id, record());
    const stream = openStream(here, id);
    await here.store.endsAt(id);
    await here.redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    // As a logout on an instance that could not tell: the record is gone and nothing was published.
    await there.redis.del(`{sess:${id}}:tokens`);
    await waitUntil(() => stream.ended.length === 1);
  });
});
