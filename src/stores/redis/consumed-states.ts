import { createHash } from 'node:crypto';
import { storeUnavailable } from '../../errors.ts';
import { type ConsumedStates, consumedStateTtlMs, rejectedStateTtlMs } from '../../login/consumed-states.ts';
import type { RedisConnection } from './connection.ts';
import { defaultKeyPrefix } from './keys.ts';

/** Digits of the hash of a login cookie that are part of its key: there are at most 65,536 such keys. */
const slotHexDigits = 4;

/** Consumed states that all instances of one client registration on the same Redis share. */
export function createRedisConsumedStates(
  redis: RedisConnection,
  registration: string,
  keyPrefix = defaultKeyPrefix,
): ConsumedStates {
  const consumedKey = (nonce: string) => `${keyPrefix}spent:${registration}:${nonce}`;
  /**
   * Strangers can sign out with invented login cookies, so that the number of keys is limited. A later sign-out with another
   * cookie may replace the value; then only its cookie counts as cancelled.
   */
  function locate(binding: string): { readonly key: string; readonly hash: string } {
    const hash = createHash('sha256').update(binding).digest('hex');
    return { key: `${keyPrefix}cancelled:${registration}:${hash.slice(0, slotHexDigits)}`, hash };
  }
  return {
    consume: (nonce) =>
      withStoreErrors(
        async () => (await redis.set(consumedKey(nonce), '1', 'PX', consumedStateTtlMs, 'NX')) !== null,
      ),
    async release(nonce) {
      await redis.del(consumedKey(nonce)).catch(() => undefined); // the state stays consumed, and the login starts again
    },
    async forgetSoon(nonce) {
      await redis.pexpire(consumedKey(nonce), rejectedStateTtlMs).catch(() => undefined); // it expires later
    },
    cancel: (binding, at) =>
      withStoreErrors(async () => {
        const { key, hash } = locate(binding);
        await redis.set(key, `${hash} ${at}`, 'PX', consumedStateTtlMs);
      }),
    isCancelled: (binding, requestedAt) =>
      withStoreErrors(async () => {
        const { key, hash } = locate(binding);
        const [cancelled, at] = (await redis.get(key))?.split(' ') ?? [];
        return cancelled === hash && requestedAt <= Number(at);
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
