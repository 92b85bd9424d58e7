import { RedisStore } from 'connect-redis';
import type { Store } from 'express-session';
import { sessionDataGraceMs } from '../../tokens/token-store.ts';
import type { RedisConnection } from './connection.ts';
import { defaultKeyPrefix, sessionKeyParts } from './keys.ts';

interface RedisSessionStoreOptions {
  readonly redis: RedisConnection;
  readonly registration: string;
  readonly keyPrefix?: string;
  readonly idleSeconds: number;
}

/** express-session's data that all instances share. `touch` is disabled: the token store extends all keys of a session. */
export function createRedisSessionStore(options: RedisSessionStoreOptions): Store {
  const { redis, registration, keyPrefix = defaultKeyPrefix, idleSeconds } = options;
  const { start, end } = sessionKeyParts(keyPrefix, registration, 'data');
  return new RedisStore({
    // connect-redis puts a prefix before the id, but nothing after it.
    client: {
      get: (key: string) => redis.get(key + end),
      set: (key: string, value: string, unit: 'EX', seconds: number) =>
        redis.set(key + end, value, unit, seconds),
      del: (keys: readonly string[]) => redis.del(keys.map((key) => key + end)),
    },
    prefix: start,
    ttl: () => idleSeconds + sessionDataGraceMs / 1000,
    disableTouch: true,
  });
}
