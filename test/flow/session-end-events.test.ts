import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { Secret } from '../../src/crypto/secret.ts';
import { createLogger } from '../../src/logger.ts';
import { createMemorySessionEndEvents } from '../../src/stores/memory/session-end-events.ts';
import { connectRedis, waitUntilReady } from '../../src/stores/redis/connection.ts';
import { createRedisSessionEndEvents } from '../../src/stores/redis/session-end-events.ts';
import type { SessionEndEvents } from '../../src/tokens/session-end-events.ts';
import { waitUntil } from '../hostile/support/wire.ts';

const lines: string[] = [];
const log = createLogger('trace', { write: (line: string) => void lines.push(line) });
const opened: (() => unknown)[] = [];
afterEach(() => {
  for (const close of opened.splice(0)) close();
  lines.length = 0;
});

interface Instance {
  readonly ends: SessionEndEvents;
  readonly heard: string[];
  readonly missed: number[];
}

function listening(ends: SessionEndEvents): Instance {
  const instance: Instance = { ends, heard: [], missed: [] };
  opened.push(() => ends.close());
  ends.listen(
    (id) => instance.heard.push(id),
    () => instance.missed.push(Date.now()),
  );
  return instance;
}

async function onRedis(url = process.env.TEST_REDIS_URL!): Promise<Instance & { readonly redis: Redis }> {
  const redis = connectRedis(new Secret(url), log) as Redis;
  opened.push(() => redis.status !== 'end' && redis.disconnect());
  await waitUntilReady(redis);
  const instance = listening(createRedisSessionEndEvents(redis, log));
  await waitUntil(() => instance.missed.length === 1);
  return { ...instance, redis };
}

describe.each([
  ['memory', async () => listening(createMemorySessionEndEvents())],
  ['Redis', () => onRedis()],
])('the ends of sessions in %s', (_name, create) => {
  test('an instance hears its own at once', async () => {
    const { ends, heard } = await create();
    const [one, two] = [randomUUID(), randomUUID()];
    ends.publish(one);
    ends.publish(two);
    expect(heard).toEqual([one, two]);
  });

  test('nothing is heard once it is closed', async () => {
    const { ends, heard } = await create();
    const other = await onRedis();
    ends.close();
    const id = randomUUID();
    other.ends.publish(id);
    expect(other.heard).toEqual([id]);
    expect(heard).toEqual([]);
  });
});

describe('the ends of sessions on one Redis', () => {
  test('every instance hears them, whichever tells', async () => {
    const [one, two, three] = [await onRedis(), await onRedis(), await onRedis()];
    const [a, b] = [randomUUID(), randomUUID()];
    one.ends.publish(a);
    three.ends.publish(b);
    for (const { heard } of [one, two, three]) await waitUntil(() => heard.includes(a) && heard.includes(b));
  });

  test('an instance that lost its connection knows that it missed something, and hears again', async () => {
    const [one, two] = [await onRedis(), await onRedis()];
    await one.redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await waitUntil(() => one.missed.length === 2 && two.missed.length === 2);
    const id = randomUUID();
    one.ends.publish(id);
    await waitUntil(() => two.heard.includes(id));
  });

  test('telling while Redis is away is heard here, is written to the log and throws nothing', async () => {
    const { ends, heard, redis } = await onRedis();
    redis.disconnect();
    const id = randomUUID();
    ends.publish(id);
    expect(heard).toEqual([id]);
    await waitUntil(() => lines.some((line) => line.includes('could not be told')));
  });

  test('an outage is one line in the log, however long it lasts', async () => {
    const redis = new Redis('redis://127.0.0.1:1', { lazyConnect: true, maxRetriesPerRequest: 0 });
    redis.on('error', () => undefined);
    opened.push(() => redis.disconnect());
    let tries = 0;
    const duplicate = redis.duplicate.bind(redis);
    redis.duplicate = (options) => {
      tries += 1;
      return duplicate(options);
    };
    const { missed } = listening(createRedisSessionEndEvents(redis, log));
    await waitUntil(() => tries > 3);
    expect(missed).toEqual([]);
    expect(lines.filter((line) => line.includes('are not heard now'))).toHaveLength(1);
  });
});
