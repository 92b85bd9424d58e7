import { RedisStore } from 'connect-redis';
import type { CookieOptions, SessionData, Store } from 'express-session';
import { sessionDataGraceMs } from '../../tokens/token-store.ts';
import type { RedisConnection } from './connection.ts';
import { createSessionKeys, defaultKeyPrefix } from './keys.ts';

interface RedisSessionStoreOptions {
  readonly redis: RedisConnection;
  readonly registration: string;
  readonly keyPrefix?: string;
  readonly idleSeconds: number;
  /** The attributes of every session cookie, which are not stored. */
  readonly cookie: CookieOptions;
}

/** express-session's data that all instances share. `touch` is disabled: the token store extends all keys of a session. */
export function createRedisSessionStore(options: RedisSessionStoreOptions): Store {
  const { redis, registration, keyPrefix = defaultKeyPrefix, idleSeconds, cookie } = options;
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
    serializer: { stringify, parse: (text) => parse(text, cookie) },
    ttl: () => idleSeconds + sessionDataGraceMs / 1000,
    disableTouch: true,
  });
}

/** If only the time of the login is stored, it is a number: Redis needs no memory of its own for the value then. */
function stringify({ cookie: _, ...data }: SessionData): string {
  const { startedAt, ...others } = data;
  return JSON.stringify(startedAt !== undefined && Object.keys(others).length === 0 ? startedAt : data);
}

function parse(text: string, cookie: CookieOptions): SessionData {
  const stored = JSON.parse(text) as number | Omit<SessionData, 'cookie'>; // only `stringify` has written it
  const data = typeof stored === 'number' ? { startedAt: stored } : stored;
  return { ...data, cookie: { ...cookie, originalMaxAge: cookie.maxAge } } as SessionData;
}
