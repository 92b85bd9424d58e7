import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { addMember } from '../../src/stores/redis/indexed-sessions.ts';
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
  count: number,
): readonly (string | Buffer)[] {
  const key = random.pick(keys);
  const value = random.pick(['nonce-000001 a', 'nonce-000002 b', 'nonce-000003 c', '']);
  const set = `${stream}-set`;
  const member = random.pick(['m1', 'm2', Buffer.of(1, 0xff, 0x80), Buffer.of(1, 0xff, 0x81)]);
  const score = String(random.integer(1, 9));
  const id = `${random.integer(Math.max(1, count - 60), count)}-0`;
  return random.pick<readonly (string | Buffer)[]>([
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
    ['ZADD', set, score, member],
    ['ZADD', set, 'XX', score, member],
    ['EVAL', addMember, '1', set, member, score, '100000'],
    ['ZREM', set, member],
    ['ZSCORE', set, member],
    ['ZCOUNT', set, score, '+inf'],
    ['ZREVRANGE', set, '0', random.pick(['0', '1', '9']), 'WITHSCORES'],
    ['ZRANGEBYSCORE', set, '-inf', score, 'LIMIT', '0', '2'],
    ['DEL', set],
  ]);
}

/** Buffers as text, and errors by their code. */
function normalize(reply: unknown): unknown {
  if (reply instanceof Error) return reply.message.split(' ')[0];
  if (Buffer.isBuffer(reply)) return reply.toString('latin1');
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
      // ioredis shapes the replies of these commands only for their own methods.
      const own = { XREADGROUP: redis.xreadgroupBuffer, ZREVRANGE: redis.zrevrangeBuffer }[String(name)];
      const execute = own ? own.bind(redis) : redis.callBuffer.bind(redis, String(name));
      const real = await (execute as (...all: (string | Buffer)[]) => Promise<unknown>)(...args).catch(
        (error: unknown) => error,
      );
      const [reply] = simulated.executeTogether([drawn.map((each) => Buffer.from(each as string))]);
      expect([count, drawn, normalize(reply)]).toEqual([count, drawn, normalize(real)]);
    }
  } finally {
    await redis.del(...keys, `${prefix}stream`, `${prefix}stream-set`);
    redis.disconnect();
  }
}, 60_000);
