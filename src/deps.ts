import { RedisStore } from 'connect-redis';
import { MemoryStore as MemoryRateLimitStore, type Store as RateLimitStore } from 'express-rate-limit';
import { MemoryStore, type Store } from 'express-session';
import { Registry } from 'prom-client';
import { Agent, type Dispatcher } from 'undici';
import type { Config } from './config.ts';
import { createLogger, type Logger } from './logger.ts';
import { type AppTokenStore, createMemoryAppTokenStore } from './tokens/app-token-store.ts';
import { createMemoryKeptForms, createRedisKeptForms, type KeptForms } from './tokens/kept-forms.ts';
import { createRedisAppTokenStore } from './tokens/redis-app-token-store.ts';
import { connectRedis, createConfirmation, untilReady } from './tokens/redis-connection.ts';
import { createRedisRevocationOutbox } from './tokens/redis-revocation-outbox.ts';
import { createRedisSessionEnds } from './tokens/redis-session-ends.ts';
import { createRedisTokenStore, sessionKeyPrefix } from './tokens/redis-token-store.ts';
import {
  createMemoryRevocationOutbox,
  type Revocation,
  type RevocationOutbox,
} from './tokens/revocation-outbox.ts';
import { createMemorySessionEnds, type SessionEnds } from './tokens/session-ends.ts';
import { createMemorySpentStates, createRedisSpentStates, type SpentStates } from './tokens/spent-states.ts';
import { createMemoryTokenStore, type TokenStore } from './tokens/token-store.ts';
import { createRedisRateLimitStore } from './web/redis-rate-limit-store.ts';

/** Everything that leaves the process; a test can stand in for any of it. */
export interface Deps {
  readonly now: () => number;
  readonly log: Logger;
  /** The way to the authorization server. */
  readonly fetch: typeof globalThis.fetch;
  /** The way to the APIs. */
  readonly upstream: Dispatcher;
  readonly tokenStore: TokenStore;
  readonly appTokenStore: AppTokenStore;
  readonly sessionEnds: SessionEnds;
  readonly spentStates: SpentStates;
  readonly keptForms: KeptForms;
  readonly sessionStore: Store;
  /** The outbox whose revocations are tried by `attempt`. */
  readonly revocationOutbox: (attempt: (revocation: Revocation) => Promise<boolean>) => RevocationOutbox;
  /** Where the requests that a limit of this name lets pass are counted. */
  readonly rateLimitStore: (name: string) => RateLimitStore;
  readonly metrics: Registry;
  /** Settles when the stores can be asked, or after two seconds: nothing waits for them for ever. */
  connected(): Promise<void>;
  /** Lets go of every connection. */
  close(): Promise<void>;
}

/** What the configuration asks for: Redis when `REDIS_URL` is set, else memory. */
export function createDeps(
  config: Config,
  { now = Date.now, log = createLogger(config.logLevel) }: Partial<Pick<Deps, 'now' | 'log'>> = {},
): Deps {
  const upstream = new Agent({ connect: { timeout: 5_000 } });
  const metrics = new Registry();
  const shared = { now, log, metrics, fetch: globalThis.fetch, upstream };
  if (!config.redis) {
    log.info('REDIS_URL is not set: sessions are kept in memory and end with this process');
    const sessionEnds = createMemorySessionEnds();
    return {
      ...shared,
      appTokenStore: createMemoryAppTokenStore(now),
      sessionEnds,
      tokenStore: createMemoryTokenStore(config.session, now, sessionEnds),
      spentStates: createMemorySpentStates(now),
      keptForms: createMemoryKeptForms(now),
      revocationOutbox: (attempt) => createMemoryRevocationOutbox(attempt, now),
      sessionStore: new MemoryStore(),
      rateLimitStore: () => new MemoryRateLimitStore(),
      connected: async () => {},
      close: () => upstream.close(),
    };
  }
  const { url, waitReplicas } = config.redis;
  const redis = connectRedis(url, log);
  const confirmed = createConfirmation(redis, waitReplicas, log);
  const sessionEnds = createRedisSessionEnds(redis, log);
  const { secrets, idleSeconds } = config.session;
  const client = nameOf(config.provider);
  const appClient = nameOf(config.app.provider ?? config.provider);
  return {
    ...shared,
    appTokenStore: createRedisAppTokenStore({ redis, client: appClient, secrets, now }),
    sessionEnds,
    tokenStore: createRedisTokenStore({
      redis,
      confirmed,
      secrets,
      lifetime: config.session,
      ends: sessionEnds,
      now,
      log,
    }),
    spentStates: createRedisSpentStates(redis),
    keptForms: createRedisKeptForms({ redis, secrets, now }),
    revocationOutbox: (attempt) => createRedisRevocationOutbox({ redis, client, secrets, attempt, now }),
    // The token store slides both keys of a session together; here nothing is touched.
    sessionStore: new RedisStore({
      client: redis,
      prefix: sessionKeyPrefix,
      ttl: () => idleSeconds,
      disableTouch: true,
    }),
    rateLimitStore: (name) => createRedisRateLimitStore(redis, name),
    connected: () => untilReady(redis),
    async close() {
      sessionEnds.close();
      redis.disconnect();
      await upstream.close();
    },
  };
}

/** Tells a client at its provider from others on the same Redis. */
function nameOf({
  clientId,
  issuer,
  endpoints,
}: NonNullable<Config['app']['provider'] | Config['provider']>): string {
  return `${clientId} ${issuer?.href ?? endpoints.token_endpoint}`;
}
