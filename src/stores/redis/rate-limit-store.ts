import { RedisStore } from 'rate-limit-redis';
import type { RedisConnection } from './connection.ts';
import { defaultKeyPrefix } from './keys.ts';

/** Takes back one request. Keys: the count, which may have expired: `DECR` alone would then create one that never expires. */
const decrement = `if redis.call('EXISTS', KEYS[1]) == 1 then return redis.call('DECR', KEYS[1]) end`;

/**
 * Counters that all instances of one client registration on the same Redis share, one set for each `name`.
 *
 * rate-limit-redis loads its scripts once, when the store is created: it never works if Redis was unavailable at that
 * moment, and a cluster node that becomes master does not have the scripts. So here every call sends the text of the
 * script instead of its digest.
 */
export function createRedisRateLimitStore(
  redis: RedisConnection,
  registration: string,
  name: string,
  keyPrefix = defaultKeyPrefix,
): RedisStore {
  return new RedisStore({
    prefix: `${keyPrefix}rate:${registration}:${name}:`,
    async sendCommand(command, ...args) {
      const [first = '', keys, ...rest] = args;
      if (command === 'SCRIPT') return args[1] ?? ''; // SCRIPT LOAD
      if (command === 'DECR') return Number(await redis.eval(decrement, 1, first));
      if (command !== 'EVALSHA') throw new Error(`unsupported rate-limit command: ${command}`);
      const reply = await redis.eval(first, Number(keys), ...rest);
      if (!Array.isArray(reply)) throw new Error('unexpected reply from the rate-limit script');
      return reply;
    },
  });
}
