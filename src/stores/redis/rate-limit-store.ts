import { RedisStore } from 'rate-limit-redis';
import type { RedisConnection } from './connection.ts';

/**
 * Counts that all instances on the same Redis share, one set of them for each `name`.
 *
 * The package loads its scripts once, when it is made, and is of no use ever after if Redis was away just then; and a
 * node of a cluster that becomes master knows none of them. So here a script goes by its own text instead of a digest,
 * and travels with every call.
 */
export function createRedisRateLimitStore(redis: RedisConnection, name: string): RedisStore {
  return new RedisStore({
    prefix: `latchkey:rate:${name}:`,
    async sendCommand(command, ...args) {
      const [script = '', keys, ...rest] = args;
      if (command === 'SCRIPT') return args[1] ?? ''; // SCRIPT LOAD
      if (command !== 'EVALSHA') throw new Error(`${command} is not needed to count`);
      const reply = await redis.eval(script, Number(keys), ...rest);
      if (!Array.isArray(reply)) throw new Error('Redis answered something else than a count');
      return reply;
    },
  });
}
