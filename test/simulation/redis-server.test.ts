import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import * as scripts from '../../src/stores/redis/token-scripts.ts';
import { testRedisUrl } from '../support/test-redis.ts';
import { createRandom, type Random } from './random.ts';
import { RedisServer } from './redis-server.ts';

const commandCount = 3_000;

/** A random command of those that Latchkey uses, on a few keys and without a meaning for time. */
function createCommand(random: Random, keys: readonly string[], stream: string, count: number): string[] {
  const key = random.pick(keys);
  const value = random.pick(['nonce-000001 a', 'nonce-000002 b', 'nonce-000003 c', '']);
  const id = `${random.integer(Math.max(1, count - 60), count)}-0`;
  return random.pick([
    ['GET', key],
    ['GETRANGE', key, '0', '11'],
    ['SET', key, value],
    ['SET', key, value, 'NX', 'PX', '100000'],
    ['SET', key, value, 'KEEPTTL'],
    ['DEL', key],
    ['GETDEL', key],
    ['EXISTS', key],
    ['EVAL', scripts.putUnlessEnded, '2', key, random.pick(keys), value, '100000'],
    [
      'EVAL',
      scripts.writeIfUnchanged,
      '2',
      key,
      random.pick(keys),
      value.slice(0, 12),
      random.pick(['', value]),
    ],
    ['EVAL', scripts.endIfUnchanged, '2', key, random.pick(keys), value.slice(0, 12), 'reason', '100000'],
    ['XADD', stream, `${count}-0`, 'sealed', value],
    ['XGROUP', 'CREATE', stream, 'instances', '0', 'MKSTREAM'],
    ['XLEN', stream],
    ['XREADGROUP', 'GROUP', 'instances', random.pick(['one', 'two']), 'COUNT', '1', 'STREAMS', stream, '>'],
    ['XCLAIM', stream, 'instances', random.pick(['one', 'two']), '0', id],
    ['XCLAIM', stream, 'instances', random.pick(['one', 'two']), '0', id, 'JUSTID'],
    ['XACK', stream, 'instances', id],
    ['XDEL', stream, id],
    ['DEL', stream],
  ]);
}

/** Buffers as text, and errors by their code. */
function normalize(reply: unknown): unknown {
  if (reply instanceof Error) return reply.message.split(' ')[0];
  if (Buffer.isBuffer(reply)) return reply.toString();
  return Array.isArray(reply) ? reply.map((each) => normalize(each)) : reply;
}

test('the simulated Redis replies to random commands as a real one does', async () => {
  const redis = new Redis(testRedisUrl());
  const simulated = new RedisServer(() => Date.now());
  const random = createRandom(1, 'commands');
  const prefix = `{${randomUUID()}}`;
  const keys = ['a', 'b', 'c'].map((name) => prefix + name);
  try {
    for (let count = 1; count <= commandCount; count += 1) {
      const drawn = createCommand(random, keys, `${prefix}stream`, count);
      const [name, ...args] = drawn;
      // ioredis shapes the reply of this command only for its own method.
      const execute = name === 'XREADGROUP' ? redis.xreadgroup.bind(redis) : redis.call.bind(redis, name!);
      const real = await (execute as (...all: string[]) => Promise<unknown>)(...args).catch(
        (error: unknown) => error,
      );
      const [reply] = simulated.executeTogether([drawn.map((each) => Buffer.from(each))]);
      expect([count, drawn, normalize(reply)]).toEqual([count, drawn, normalize(real)]);
    }
  } finally {
    await redis.del(...keys, `${prefix}stream`);
    redis.disconnect();
  }
}, 60_000);
