import { createHash } from 'node:crypto';
import { storeUnavailable } from '../../errors.ts';
import { type ConsumedStates, consumedStateTtlMs } from '../../login/consumed-states.ts';
import type { RedisConnection } from './connection.ts';
import { defaultKeyPrefix } from './keys.ts';

/** Consumed states that all instances of one client registration on the same Redis share. */
export function createRedisConsumedStates(
  redis: RedisConnection,
  registration: string,
  keyPrefix = defaultKeyPrefix,
): ConsumedStates {
  const consumedKey = (nonce: string) => `${keyPrefix}spent:${registration}:${nonce}`;
  const cancelledKey = (binding: string) =>
    `${keyPrefix}cancelled:${registration}:${createHash('sha256').update(binding).digest('base64url')}`;
  return {
    consume: (nonce) =>
      withStoreErrors(
        async () => (await redis.set(consumedKey(nonce), '1', 'PX', consumedStateTtlMs, 'NX')) !== null,
      ),
    async release(nonce) {
      await redis.del(consumedKey(nonce)).catch(() => undefined); // the state stays consumed, and the login starts again
    },
    cancel: (binding, at) =>
      withStoreErrors(async () => {
        await redis.set(cancelledKey(binding), String(at), 'PX', consumedStateTtlMs);
      }),
    isCancelled: (binding, requestedAt) =>
      withStoreErrors(async () => {
        const at = await redis.get(cancelledKey(binding));
        return at !== null && requestedAt <= Number(at);
      }),
  };
}

async function withStoreErrors<T>(operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    throw storeUnavailable(error);
  }
}
