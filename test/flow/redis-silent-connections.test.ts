import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { Secret } from '../../src/crypto/secret.ts';
import { createLogger } from '../../src/logger.ts';
import { connectRedis, type RedisConnection } from '../../src/stores/redis/connection.ts';
import { createRedisSessionEndEvents } from '../../src/stores/redis/session-end-events.ts';
import {
  startCluster,
  startSentinel,
  startSingle,
  type Topology,
  waitFor,
} from '../support/redis-topologies.ts';

const log = createLogger('silent');
/** Long enough for a slow machine, and far from the 15 minutes after which TCP gives up. */
const maxRecoveryMs = 8_000;

describe.each([
  ['a single server', startSingle],
  ['Sentinel', startSentinel],
  ['a cluster', startCluster],
])('with %s', (_name, start) => {
  let topology: Topology;
  let redis: RedisConnection;
  beforeEach(async () => {
    topology = await start();
    redis = connectRedis({ url: new Secret(topology.url) }, log);
    // Of each node of a cluster, as a connection that is opened later would not be the one that dies.
    await waitFor(() =>
      Promise.all(['{node}:key', 'key'].map((key) => redis.get(key))).then(
        () => true,
        () => false,
      ),
    );
  });
  afterEach(async () => {
    redis.disconnect();
    await topology.close();
  });

  test('a connection that died silently is replaced within seconds, without a request that finds it', async () => {
    const before = topology.relay.connections;
    topology.relay.freeze();
    await waitFor(() => topology.relay.connections > before);
    const deadline = Date.now() + maxRecoveryMs;
    await waitFor(() =>
      redis.set('key', 'value').then(
        () => true,
        () => false,
      ),
    );
    expect(Date.now()).toBeLessThan(deadline);
  });

  test('a command that timed out on a connection that died is not executed later', async () => {
    topology.relay.freeze();
    await expect(redis.incr('{node}:count')).rejects.toThrow();
    await waitFor(() =>
      redis.set('{node}:key', 'value').then(
        () => true,
        () => false,
      ),
    );
    expect(await redis.get('{node}:count')).toBeNull();
  });

  test('a subscription that died silently is replaced within seconds, and reports the gap', async () => {
    const events = createRedisSessionEndEvents(redis, 'registration', log);
    const received: string[] = [];
    let gaps = 0;
    events.listen(
      (id) => received.push(id),
      () => {
        gaps += 1;
      },
    );
    await waitFor(() => gaps === 1);
    topology.relay.freeze();
    await waitFor(() => gaps === 2);
    const id = randomUUID();
    await topology.admin.publish('latchkey:session-ends:registration', id);
    await waitFor(() => received.includes(id));
    events.close();
  });
});

test('a stall of the process costs neither the command in flight nor the connection', async () => {
  const topology = await startSingle();
  // Not through the relay, which stalls too.
  const { port } = topology.admin.options;
  const redis = connectRedis({ url: new Secret(`redis://127.0.0.1:${port}`) }, log);
  await once(redis, 'ready');
  let closed = 0;
  redis.on('close', () => {
    closed += 1;
  });
  for (const stallMs of [1_000, 3_000]) {
    const reply = redis.get('key');
    await new Promise(setImmediate); // the command is sent now
    const end = performance.now() + stallMs;
    while (performance.now() < end);
    expect(await reply).toBeNull();
  }
  await delay(3_000); // more heartbeats than a dead connection is given
  expect(closed).toBe(0);
  redis.disconnect();
  await topology.close();
});

test('a client like that of the app around Latchkey does not bring its own time-out for silence', () => {
  const host = new Redis({ lazyConnect: true, socketTimeout: 50 });
  const redis = connectRedis({ client: host }, log);
  expect(redis.options).not.toHaveProperty('socketTimeout', 50);
  redis.disconnect();
});

test('a sentinel that accepts connections but never responds does not keep Latchkey from asking the next one', async () => {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as { port: number };
  const topology = await startSentinel();
  const redis = connectRedis({ url: new Secret(topology.url.replace('://', `://127.0.0.1:${port},`)) }, log);
  await waitFor(() =>
    redis.ping().then(
      () => true,
      () => false,
    ),
  );
  redis.disconnect();
  silent.close();
  for (const each of sockets) each.destroy();
  await topology.close();
});
