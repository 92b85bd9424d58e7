import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import * as scripts from '../../src/stores/redis/token-scripts.ts';
import { testRedisUrl } from '../support/test-redis.ts';
import { createRandom, type Random } from './random.ts';
import { RedisServer } from './redis-server.ts';

const commandCount = 3_000;

/** A random command of those that Latchkey uses, on a few keys and without a meaning for time. */
function createCommand(
  random: Random,
  keys: readonly string[],
  stream: string,
  ids: readonly string[],
): string[] {
  const key = random.pick(keys);
  const value = random.pick(['nonce-000001 a', 'nonce-000002 b', 'nonce-000003 c', '']);
  const id = random.pick([...ids, '1-0']);
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
    ['XADD', stream, '*', 'sealed', value],
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

/** Stream ids differ between both servers, so each of them is replaced by its number. */
function normalize(reply: unknown, ids: readonly string[]): unknown {
  if (reply instanceof Error)
    return reply.message.replace(/ script: .*|, on @user_script.*/, '').split(' ')[0];
  if (Buffer.isBuffer(reply)) return normalize(reply.toString(), ids);
  if (typeof reply === 'string') return ids.includes(reply) ? `id ${ids.indexOf(reply)}` : reply;
  return Array.isArray(reply) ? reply.map((each) => normalize(each, ids)) : reply;
}

test('the simulated Redis replies to random commands as a real one does', async () => {
  const redis = new Redis(testRedisUrl());
  const simulated = new RedisServer(() => Date.now());
  const random = createRandom(1, 'commands');
  const prefix = `{${randomUUID()}}`;
  const keys = ['a', 'b', 'c'].map((name) => prefix + name);
  const ids = { real: [] as string[], simulated: [] as string[] };
  try {
    for (let count = 0; count < commandCount; count += 1) {
      const drawn = createCommand(random, keys, `${prefix}stream`, ids.real);
      const [name, ...args] = drawn;
      const index = ids.real.indexOf(drawn.find((each) => ids.real.includes(each)) ?? '');
      // ioredis shapes the reply of this command only for its own method.
      const execute = name === 'XREADGROUP' ? redis.xreadgroup.bind(redis) : redis.call.bind(redis, name!);
      const real = await (execute as (...all: string[]) => Promise<unknown>)(...args).catch(
        (error: unknown) => error,
      );
      let reply: unknown;
      try {
        reply = simulated.execute(
          drawn.map((each) =>
            Buffer.from(index >= 0 && each === ids.real[index] ? ids.simulated[index]! : each),
          ),
        );
      } catch (error) {
        reply = error;
      }
      if (name === 'XADD') {
        ids.real.push(String(real));
        ids.simulated.push(String(reply));
      }
      const simplified = normalize(reply, ids.simulated);
      expect([count, drawn, simplified]).toEqual([count, drawn, normalize(real, ids.real)]);
    }
  } finally {
    await redis.del(...keys, `${prefix}stream`);
    redis.disconnect();
  }
}, 60_000);
