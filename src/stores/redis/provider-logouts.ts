import { createHmac } from 'node:crypto';
import { deriveKeys, type KeySource } from '../../crypto/sealing.ts';
import { storeUnavailable } from '../../errors.ts';
import {
  type LogoutProgress,
  loginsEndedForMs,
  type ProviderLogouts,
  selectorsOfLogin,
  selectorsOfLogout,
} from '../../tokens/provider-logouts.ts';
import type { RedisConnection } from './connection.ts';
import { defaultKeyPrefix } from './keys.ts';

interface RedisProviderLogoutsOptions extends KeySource {
  readonly redis: RedisConnection;
  readonly keyPrefix?: string;
  readonly now: () => number;
}

/** The logouts of the last minutes, which all instances of one client registration on the same Redis share. */
export function createRedisProviderLogouts(options: RedisProviderLogoutsOptions): ProviderLogouts {
  const { redis, registration, keyPrefix = defaultKeyPrefix, now } = options;
  const hashKeys = deriveKeys(options, 'provider_logouts');
  const progressKey = (id: string, hashKey = hashKeys[0]!) =>
    `${keyPrefix}logout-tokens:${registration}:${hash(hashKey, 'jti', id)}`;
  const endedKey = (selector: readonly [kind: string, value: string], hashKey = hashKeys[0]!) =>
    `${keyPrefix}provider-logouts:${registration}:${hash(hashKey, ...selector)}`;

  return {
    progressOf: (id) =>
      withStoreErrors(async () => {
        // Instances may have several secrets during a rotation, and write with the first of them.
        const found = await Promise.all(hashKeys.map((hashKey) => redis.get(progressKey(id, hashKey))));
        return found.find((each): each is LogoutProgress => each === 'applied' || each === 'deferred');
      }),
    remember: ({ id, validUntil }, progress) =>
      withStoreErrors(async () => {
        await redis.set(progressKey(id), progress, 'PX', Math.max(1, Math.ceil(validUntil - now())));
      }),
    endLogins: ({ receivedAt, ...logout }) =>
      withStoreErrors(async () => {
        const keys = selectorsOfLogout(logout).map((selector) => endedKey(selector));
        await Promise.all(keys.map((key) => redis.set(key, receivedAt, 'PX', loginsEndedForMs)));
      }),
    isLoginEnded: (identity, startedAt) =>
      withStoreErrors(async () => {
        const keys = hashKeys.flatMap((hashKey) =>
          selectorsOfLogin(identity).map((selector) => endedKey(selector, hashKey)),
        );
        const times = await Promise.all(keys.map((key) => redis.get(key)));
        return times.some((time) => time !== null && startedAt <= Number(time));
      }),
  };
}

/** Keyed, so that nobody who can read Redis learns who has signed out. */
function hash(key: Parameters<typeof createHmac>[1], kind: string, value: string): string {
  // As JSON, because a kind and a value with spaces could look like another kind and value.
  return createHmac('sha256', key)
    .update(JSON.stringify([kind, value]))
    .digest('base64url');
}

async function withStoreErrors<T>(operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    throw storeUnavailable(error);
  }
}
