import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { Secret } from '../../src/crypto/secret.ts';
import { createLogger } from '../../src/logger.ts';
import { createMemorySessionEndEvents } from '../../src/stores/memory/session-end-events.ts';
import { connectRedis, waitUntilReady } from '../../src/stores/redis/connection.ts';
import { createRedisSessionEndEvents } from '../../src/stores/redis/session-end-events.ts';
import type { SessionEndEvents } from '../../src/tokens/session-end-events.ts';
import { waitUntil } from '../hostile/support/raw-http.ts';
import { connectToCluster, startCluster } from '../support/redis-topologies.ts';
import { testRedisUrl } from '../support/test-redis.ts';

const lines: string[] = [];
const log = createLogger('trace', { write: (line: string) => void lines.push(line) });
const cleanups: (() => unknown)[] = [];
afterEach(() => {
  for (const close of cleanups.splice(0)) close();
  lines.length = 0;
});

interface Instance {
  readonly events: SessionEndEvents;
  readonly received: string[];
  readonly missed: number[];
}

function subscribe(events: SessionEndEvents): Instance {
  const instance: Instance = { events, received: [], missed: [] };
  cleanups.push(() => events.close());
  events.listen(
    (id) => instance.received.push(id),
    () => instance.missed.push(Date.now()),
  );
  return instance;
}

async function createRedisInstance(
  url = testRedisUrl(),
  registration = 'registration-one',
): Promise<Instance & { readonly redis: Redis }> {
  const redis = connectRedis({ url: new Secret(url) }, log) as Redis;
  cleanups.push(() => redis.status !== 'end' && redis.disconnect());
  await waitUntilReady(redis);
  const instance = subscribe(createRedisSessionEndEvents(redis, registration, log));
  await waitUntil(() => instance.missed.length === 1);
  return { ...instance, redis };
}

describe.each([
  ['memory', async () => subscribe(createMemorySessionEndEvents())],
  ['Redis', () => createRedisInstance()],
])('session-end events in %s', (_name, create) => {
  test('an instance receives its own events immediately', async () => {
    const { events, received } = await create();
    const [one, two] = [randomUUID(), randomUUID()];
    events.publish(one);
    events.publish(two);
    expect(received).toEqual([one, two]);
  });

  test('an instance receives nothing after it is closed', async () => {
    const { events, received } = await create();
    const other = await createRedisInstance();
    events.close();
    const id = randomUUID();
    other.events.publish(id);
    expect(other.received).toEqual([id]);
    expect(received).toEqual([]);
  });
});

describe('session-end events of instances on one Redis', () => {
  test('every instance receives the events of every other instance', async () => {
    const [one, two, three] = [
      await createRedisInstance(),
      await createRedisInstance(),
      await createRedisInstance(),
    ];
    const [a, b] = [randomUUID(), randomUUID()];
    one.events.publish(a);
    three.events.publish(b);
    for (const { received } of [one, two, three])
      await waitUntil(() => received.includes(a) && received.includes(b));
  });

  test('at a start on a cluster, the subscription waits for the nodes, and no failure is logged', async () => {
    const { url, close } = await startCluster();
    const redis = connectRedis({ url: new Secret(url) }, log);
    try {
      const { missed } = subscribe(createRedisSessionEndEvents(redis, 'registration-one', log));
      await waitUntil(() => missed.length === 1);
      expect(lines.filter((line) => line.includes('subscription failed'))).toEqual([]);
    } finally {
      redis.disconnect();
      await close();
    }
  });

  test('in a cluster, every instance receives the events that any node publishes', async () => {
    const cluster = await connectToCluster();
    const create = () => subscribe(createRedisSessionEndEvents(cluster.redis, 'registration-one', log));
    try {
      await cluster.redis.ping(); // now it knows the nodes
      const instances = [create(), create(), create()]; // each subscribes at a random node
      await waitUntil(() => instances.every(({ missed }) => missed.length === 1));
      const ids = cluster.admins.map(() => randomUUID());
      const own = randomUUID();
      for (const [node, admin] of cluster.admins.entries())
        await admin.publish('latchkey:session-ends:registration-one', ids[node]!);
      instances[0]!.events.publish(own);
      for (const { received } of instances)
        await waitUntil(() => [...ids, own].every((id) => received.includes(id)));
      for (const { events } of instances) events.close();
    } finally {
      await cluster.close();
    }
  });

  test('an instance receives no events of another client registration', async () => {
    const [one, two] = [await createRedisInstance(), await createRedisInstance()];
    const other = await createRedisInstance(testRedisUrl(), 'registration-two');
    const [foreign, own] = [randomUUID(), randomUUID()];
    other.events.publish(foreign);
    await other.redis.ping(); // Redis has delivered the event when it responds
    two.events.publish(own);
    await waitUntil(() => one.received.includes(own));
    expect([...new Set(one.received)]).toEqual([own]);
  });

  test('an instance that reconnects is notified of possibly missed events, and receives new ones', async () => {
    const [one, two] = [await createRedisInstance(), await createRedisInstance()];
    await one.redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await waitUntil(() => one.missed.length === 2 && two.missed.length === 2);
    const id = randomUUID();
    one.events.publish(id);
    await waitUntil(() => two.received.includes(id));
  });

  test('while Redis is unreachable, publish notifies its own instance, logs the failure and does not throw', async () => {
    const { events, received, redis } = await createRedisInstance();
    redis.disconnect();
    const id = randomUUID();
    events.publish(id);
    expect(received).toEqual([id]);
    await waitUntil(() => lines.some((line) => line.includes('failed to notify other instances')));
  });

  test('an outage is logged once, however long it lasts', async () => {
    const redis = new Redis('redis://127.0.0.1:1', { lazyConnect: true, maxRetriesPerRequest: 0 });
    redis.on('error', () => undefined);
    cleanups.push(() => redis.disconnect());
    let tries = 0;
    const duplicate = redis.duplicate.bind(redis);
    redis.duplicate = (options) => {
      tries += 1;
      return duplicate(options);
    };
    const { missed } = subscribe(createRedisSessionEndEvents(redis, 'registration-one', log));
    await waitUntil(() => tries > 3);
    expect(missed).toEqual([]);
    expect(lines.filter((line) => line.includes('session-end subscription failed'))).toHaveLength(1);
  });
});
