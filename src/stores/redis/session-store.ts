import { RedisStore } from 'connect-redis';
import type { Store } from 'express-session';
import { sessionDataGraceMs } from '../../tokens/token-store.ts';
import type { RedisConnection } from './connection.ts';
import { createSessionKeys, defaultKeyPrefix } from './keys.ts';

interface RedisSessionStoreOptions {
  readonly redis: RedisConnection;
  readonly registration: string;
  readonly keyPrefix?: string;
  readonly idleSeconds: number;
}

/** express-session's data that all instances share. `touch` is disabled: the token store extends all keys of a session. */
export function createRedisSessionStore(options: RedisSessionStoreOptions): Store {
  const { redis, registration, keyPrefix = defaultKeyPrefix, idleSeconds } = options;
  const sessionKeyOf = createSessionKeys(keyPrefix, registration);
  const keyOf = (id: string) => sessionKeyOf(id, 'data');
  return new RedisStore({
    // connect-redis puts a prefix before the id, but nothing after it.
    client: {
      get: (id: string) => redis.get(keyOf(id)),
      set: (id: string, value: string, unit: 'EX', seconds: number) =>
        redis.set(keyOf(id), value, unit, seconds),
      del: (ids: readonly string[]) => redis.del(ids.map(keyOf)),
    },
    prefix: '',
    ttl: () => idleSeconds + sessionDataGraceMs / 1000,
    disableTouch: true,
  });
}
