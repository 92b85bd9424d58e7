import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { Secret } from '../../src/crypto/secret.ts';
import { createLogger } from '../../src/logger.ts';
import { createOpenStreams, type OpenStreams } from '../../src/proxy/open-streams.ts';
import { connectRedis, waitUntilReady } from '../../src/stores/redis/connection.ts';
import { createRedisSessionEndEvents } from '../../src/stores/redis/session-end-events.ts';
import { createRedisTokenStore } from '../../src/stores/redis/token-store.ts';
import type { Lifetime, TokenRecord, TokenStore } from '../../src/tokens/token-store.ts';
import { waitUntil } from '../hostile/support/raw-http.ts';
import { testRedisUrl } from '../support/test-redis.ts';

const log = createLogger('silent');

describe('open streams across instances on one Redis', () => {
  const cleanups: (() => void)[] = [];
  afterEach(() => {
    for (const close of cleanups.splice(0)) close();
  });

  const registration = 'a-registration';

  interface Instance {
    readonly redis: Redis;
    readonly store: TokenStore;
    readonly streams: OpenStreams;
  }

  async function createInstance({
    idleSeconds = 100,
    absoluteSeconds = 1000,
  }: Partial<Lifetime> = {}): Promise<Instance> {
    const redis = connectRedis({ url: new Secret(testRedisUrl()) }, log) as Redis;
    await waitUntilReady(redis);
    const sessionEndEvents = createRedisSessionEndEvents(redis, registration, log);
    const lifetime = { idleSeconds, absoluteSeconds };
    const secrets = [new Secret('the-first-secret-of-these-tests-0123')];
    const store = createRedisTokenStore({
      redis,
      waitForReplicas: async () => {},
      secrets,
      registration,
      lifetime,
      sessionEndEvents,
      index: { add: async () => {}, remove: async () => {} },
      now: Date.now,
    });
    let onSubscribed = () => {};
    const subscribed = new Promise<void>((resolve) => {
      onSubscribed = resolve;
    });
    const streams = createOpenStreams({
      sessionEndEvents: {
        listen: (onEnd, onMissed) =>
          sessionEndEvents.listen(onEnd, () => {
            onSubscribed();
            onMissed();
          }),
      },
      endsAt: store.endsAt,
      now: Date.now,
      log,
      limits: {
        streams: 0,
        streamsPerAddress: 0,
        streamsPerUser: 0,
        streamsPerSession: 0,
        upstreamConnections: 0,
        upstreamConnectionsPerUser: 0,
        upstreamConnectionsPerAddress: 0,
      },
    });
    await subscribed;
    cleanups.push(() => {
      streams.closeAll();
      sessionEndEvents.close();
      redis.disconnect();
    });
    return { redis, store, streams };
  }

  const record = (signedInAt = Date.now()): TokenRecord => ({
    tokens: { accessToken: 'a', tokenType: 'bearer', scope: [], issuedAt: signedInAt },
    user: { sub: 'alice' },
    signedInAt,
  });

  /** A stream, with the time and the reason of its closing. */
  function openStream({ streams }: Instance, id: string) {
    const stream = { reasons: [] as string[], closedAt: 0, forget: () => {} };
    stream.forget = streams.register(id, (reason) => {
      stream.reasons.push(reason);
      stream.closedAt = Date.now();
    });
    return stream;
  }

  /** Few at a time, so that no command waits for its turn longer than the command timeout, on a busy machine either. */
  async function inBatches(ids: readonly string[], work: (id: string) => Promise<unknown>): Promise<void> {
    for (let start = 0; start < ids.length; start += 50)
      await Promise.all(ids.slice(start, start + 50).map(work));
  }

  test('streams close within a second of a logout on another instance: 1,000 streams of one session, and one stream each of 1,000 sessions', async () => {
    const [local, remote] = [await createInstance(), await createInstance()];
    const ids = Array.from({ length: 1_000 }, () => randomUUID());
    const shared = randomUUID();
    await inBatches([...ids, shared], (id) => remote.store.put(id, record()));
    const streams = [...ids, ...ids.map(() => shared)].map((id) => openStream(local, id));
    const otherId = randomUUID();
    await remote.store.put(otherId, record());
    const unaffected = openStream(local, otherId);
    const startedAt = Date.now();
    await inBatches([...ids, shared], (id) => remote.store.take(id, { kind: 'signed_out' }));
    const takenAt = Date.now();
    await waitUntil(() => streams.every(({ reasons }) => reasons.length > 0));
    expect(streams.every(({ reasons }) => reasons.join() === 'session_ended')).toBe(true);
    expect(streams.every(({ closedAt }) => closedAt >= startedAt && closedAt < takenAt + 1_000)).toBe(true);
    expect(unaffected.reasons).toEqual([]);
  });

  test('a stream closes when another instance learns that the provider has ended the session', async () => {
    const [local, remote] = [await createInstance(), await createInstance()];
    const id = randomUUID();
    await remote.store.put(id, record());
    const stream = openStream(local, id);
    await remote.store.update(id, async () => undefined);
    await waitUntil(() => stream.reasons.length === 1);
  });

  test("a stream does not extend its session, and closes when the session's idle time is over", async () => {
    const local = await createInstance({ idleSeconds: 1 });
    const id = randomUUID();
    const startedAt = Date.now();
    await local.store.put(id, record());
    const stream = openStream(local, id);
    await waitUntil(() => stream.reasons.length === 1);
    expect(stream.closedAt - startedAt).toBeGreaterThanOrEqual(990);
  });

  test('a stream closes at the absolute limit of its session, however often the session is used', async () => {
    const local = await createInstance({ absoluteSeconds: 1000 });
    const id = randomUUID();
    const signedInAt = Date.now() - 999_000;
    await local.store.put(id, record(signedInAt));
    const stream = openStream(local, id);
    await local.store.get(id, { touch: true });
    await waitUntil(() => stream.reasons.length === 1);
    expect(stream.closedAt).toBeGreaterThanOrEqual(signedInAt + 1_000_000);
  });

  test('a stream is closed if it opens while its session is ending', async () => {
    const [local, remote] = [await createInstance(), await createInstance()];
    const id = randomUUID();
    await remote.store.put(id, record());
    await remote.store.take(id, { kind: 'signed_out' }); // the event arrives before the stream opens
    const stream = openStream(local, id);
    await waitUntil(() => stream.reasons.length === 1);
  });

  test('a stream whose session-end event was missed closes after the reconnect to Redis', async () => {
    const [local, remote] = [await createInstance(), await createInstance()];
    const id = randomUUID();
    await remote.store.put(id, record());
    const stream = openStream(local, id);
    await local.store.endsAt(id);
    await local.redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    // Like a logout on an instance that could not publish: the record is removed without an event.
    await remote.redis.del(`latchkey:{s:${registration}:${id}}:tokens`);
    await waitUntil(() => stream.reasons.length === 1);
  });
});
