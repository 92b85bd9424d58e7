import { storeUnavailable } from '../errors.ts';
import type { RedisConnection } from './redis-connection.ts';

/** As long as a state itself is valid. */
const rememberedMs = 600_000;

/** Sees to it that each login transaction, named by its nonce, spends one authorization code only. */
export interface SpentStates {
  /** True for the one caller who may go on with this transaction. */
  spend(nonce: string): Promise<boolean>;
  /** Makes a transaction good again whose code the provider has not taken. */
  giveBack(nonce: string): Promise<void>;
}

/** Remembers in this process. */
export function createMemorySpentStates(now: () => number): SpentStates {
  const spent = new Map<string, number>();
  return {
    async spend(nonce) {
      for (const [other, until] of spent) {
        if (until > now()) break; // the rest is younger still
        spent.delete(other);
      }
      if (spent.has(nonce)) return false;
      spent.set(nonce, now() + rememberedMs);
      return true;
    },
    async giveBack(nonce) {
      spent.delete(nonce);
    },
  };
}

/** Remembers for every instance on the same Redis. */
export function createRedisSpentStates(redis: RedisConnection): SpentStates {
  const key = (nonce: string) => `latchkey:spent:${nonce}`;
  return {
    async spend(nonce) {
      try {
        return (await redis.set(key(nonce), '1', 'PX', rememberedMs, 'NX')) !== null;
      } catch (error) {
        throw storeUnavailable(error);
      }
    },
    async giveBack(nonce) {
      await redis.del(key(nonce)).catch(() => undefined); // then it stays spent, and the login starts anew
    },
  };
}
