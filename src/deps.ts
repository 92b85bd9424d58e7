import { RedisStore } from 'connect-redis';
import { MemoryStore, type Store } from 'express-session';
import { Redis } from 'ioredis';
import { Agent, type Dispatcher } from 'undici';
import type { Config } from './config.ts';
import { createLogger, type Logger } from './logger.ts';
import { createRedisTokenStore, sessionKeyPrefix } from './tokens/redis-token-store.ts';
import { createMemorySpentStates, createRedisSpentStates, type SpentStates } from './tokens/spent-states.ts';
import { createMemoryTokenStore, type TokenStore } from './tokens/token-store.ts';

/** Everything that leaves the process; a test can stand in for any of it. */
export interface Deps {
  readonly now: () => number;
  readonly log: Logger;
  /** The way to the authorization server. */
  readonly fetch: typeof globalThis.fetch;
  /** The way to the APIs. */
  readonly upstream: Dispatcher;
  readonly tokenStore: TokenStore;
  readonly spentStates: SpentStates;
  readonly sessionStore: Store;
  /** Lets go of every connection. */
  close(): Promise<void>;
}

/** What the configuration asks for: Redis when `REDIS_URL` is set, else memory. */
export function createDeps(
  config: Config,
  { now = Date.now, log = createLogger(config.logLevel) }: Partial<Pick<Deps, 'now' | 'log'>> = {},
): Deps {
  const upstream = new Agent({ connect: { timeout: 5_000 } });
  const shared = { now, log, fetch: globalThis.fetch, upstream };
  if (!config.redisUrl) {
    log.info('REDIS_URL is not set: sessions are kept in memory and end with this process');
    return {
      ...shared,
      tokenStore: createMemoryTokenStore(config.session, now),
      spentStates: createMemorySpentStates(now),
      sessionStore: new MemoryStore(),
      close: () => upstream.close(),
    };
  }
  const redis = connect(config.redisUrl.reveal(), log);
  const { secrets, idleSeconds } = config.session;
  return {
    ...shared,
    tokenStore: createRedisTokenStore({ redis, secrets, lifetime: config.session, now, log }),
    spentStates: createRedisSpentStates(redis),
    // The token store slides both keys of a session together; here nothing is touched.
    sessionStore: new RedisStore({
      client: redis,
      prefix: sessionKeyPrefix,
      ttl: () => idleSeconds,
      disableTouch: true,
    }),
    async close() {
      redis.disconnect();
      await upstream.close();
    },
  };
}

/** Fails fast while Redis is away, so that requests get their 503 at once, and connects again by itself. */
function connect(url: string, log: Logger): Redis {
  const redis = new Redis(url, {
    enableAutoPipelining: true,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    connectTimeout: 1_500,
    commandTimeout: 1_500,
    retryStrategy: (attempt) => Math.min(50 * attempt, 1_000),
  });
  redis.on('error', (error) => log.warn({ err: error }, 'Redis cannot be reached'));
  redis.on('ready', () => log.info('Redis is connected'));
  return redis;
}
