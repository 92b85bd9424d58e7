import { Cluster, type Redis } from 'ioredis';
import { Secret } from '../../src/crypto/secret.ts';
import { createLogger } from '../../src/logger.ts';
import { connectRedis, findReconnectGrace, type RedisConnection } from '../../src/stores/redis/connection.ts';
import { createRedisSessionEndEvents } from '../../src/stores/redis/session-end-events.ts';
import {
  startCluster,
  startSentinel,
  startServer,
  startSingle,
  type Topology,
  waitFor,
} from '../support/redis-topologies.ts';

let lines: Record<string, unknown>[];
const log = createLogger('trace', { write: (line: string) => void lines.push(JSON.parse(line)) });
const cleanups: (() => unknown)[] = [];
beforeEach(() => {
  lines = [];
});
afterEach(async () => {
  for (const close of cleanups.splice(0).reverse()) await close();
});

function connect(url: string): RedisConnection {
  const redis = connectRedis({ url: new Secret(url) }, log);
  cleanups.push(() => redis.disconnect());
  return redis;
}

const isReachable = (redis: RedisConnection) =>
  redis.ping().then(
    () => true,
    () => false,
  );

describe('a database that Redis refuses is never replaced by database 0, that of another app', () => {
  test.each([
    ['because it does not exist', 9, ['~*', '+@all'], 'database'],
    ['because the user may not select one', 1, ['~*', '+@all', '-select'], 'permission'],
  ])('%s', async (_why, database, rights, reason) => {
    const server = await startServer({ args: ['--databases', 4] });
    cleanups.push(() => server.close());
    await server.admin.acl('SETUSER', 'app', 'on', '>password', ...rights);
    const redis = connect(`redis://app:password@127.0.0.1:${server.port}/${database}`);
    const connections = async () => Number(/connections_received:(\d+)/.exec(await server.admin.info())?.[1]);
    const before = await connections();
    await waitFor(async () => {
      await redis.set('latchkey:key', 'value').catch(() => undefined);
      return (await connections()) > before + 4;
    });
    expect(await server.admin.dbsize()).toBe(0);
    expect(lines).toEqual([expect.objectContaining({ reason, level: 'warn' })]);
    await server.admin.acl('SETUSER', 'app', '+select');
    if (database < 4) await waitFor(() => redis.set('latchkey:key', 'value').then(Boolean, () => false));
    expect(await server.admin.dbsize()).toBe(0);
  });
});

test.each([
  ['a single server', startSingle],
  ['Sentinel', startSentinel],
  ['a cluster', startCluster],
])(
  'listeners do not grow with the number of reconnects or of stores, with %s',
  async (_name, start) => {
    const topology: Topology = await start();
    cleanups.push(() => topology.close());
    const redis = connect(topology.url);
    const count = () => {
      const emitters: (Redis | Cluster)[] = redis instanceof Cluster ? [redis, ...redis.nodes()] : [redis];
      return emitters.map((each) => Math.max(...each.eventNames().map((name) => each.listenerCount(name))));
    };
    findReconnectGrace(redis);
    await waitFor(() => isReachable(redis));
    for (let cycle = 0; cycle < 12; cycle += 1) {
      findReconnectGrace(redis);
      await topology.relay.close();
      await waitFor(async () => !(await isReachable(redis)));
      await topology.relay.open();
      await waitFor(() => isReachable(redis));
    }
    expect(Math.max(...count())).toBeLessThanOrEqual(6);
  },
  60_000,
);

test('a subscription that is cut off again and again is opened ever less often, and logged once', async () => {
  const topology = await startSingle();
  cleanups.push(() => topology.close());
  const redis = connect(topology.url);
  await waitFor(() => isReachable(redis));
  const events = createRedisSessionEndEvents(redis, 'registration', log);
  cleanups.push(() => events.close());
  const subscribedAt: number[] = [];
  events.listen(
    () => undefined,
    () => {
      subscribedAt.push(performance.now());
      void topology.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    },
  );
  await waitFor(() => subscribedAt.length === 5);
  const pauses = subscribedAt.slice(1).map((time, index) => time - subscribedAt[index]!);
  for (const [index, minimum] of [200, 400, 800, 1_600].entries())
    expect(pauses[index]).toBeGreaterThanOrEqual(minimum - 5);
  expect(lines.filter(({ msg }) => String(msg).startsWith('session-end')).length).toBeLessThanOrEqual(1);
});
