import { storeUnavailable } from '../../errors.ts';
import { type ConsumedStates, consumedStateTtlMs } from '../../login/consumed-states.ts';
import type { RedisConnection } from './connection.ts';

/** Consumed states that all instances of one client registration on the same Redis share. */
export function createRedisConsumedStates(redis: RedisConnection, registration: string): ConsumedStates {
  const key = (nonce: string) => `latchkey:spent:${registration}:${nonce}`;
  return {
    async consume(nonce) {
      try {
        return (await redis.set(key(nonce), '1', 'PX', consumedStateTtlMs, 'NX')) !== null;
      } catch (error) {
        throw storeUnavailable(error);
      }
    },
    async release(nonce) {
      await redis.del(key(nonce)).catch(() => undefined); // the state stays consumed, and the login starts again
    },
  };
}
