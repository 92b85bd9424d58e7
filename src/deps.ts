import type { Store as RateLimitStore } from 'express-rate-limit';
import { MemoryStore, type Store } from 'express-session';
import type { Dispatcher } from 'undici';
import { type AuditLog, createAuditLog } from './audit/audit-log.ts';
import type { Config } from './config/load.ts';
import { createLogger, type Logger } from './logger.ts';
import type { ConsumedStates } from './login/consumed-states.ts';
import { createMetrics, type Metrics } from './metrics/metrics.ts';
import { measureAudit } from './observability/measured-audit.ts';
import { createUpstreamAgent } from './proxy/upstream/agent.ts';
import type { SavedForms } from './saved-forms/saved-forms.ts';
import { cookieOptions } from './session/session.ts';
import { cacheRecords } from './stores/cached-token-store.ts';
import { measureRedis } from './stores/measure-redis.ts';
import { createMemoryAppTokenStore } from './stores/memory/app-token-store.ts';
import { createMemoryConsumedStates } from './stores/memory/consumed-states.ts';
import { createHandOver, type HandOver } from './stores/memory/hand-over.ts';
import { createMemorySessionIndex } from './stores/memory/indexed-sessions.ts';
import { createMemoryProviderLogouts } from './stores/memory/provider-logouts.ts';
import { createMemoryRateLimitStore } from './stores/memory/rate-limit-store.ts';
import { createMemoryRevocationOutbox } from './stores/memory/revocation-outbox.ts';
import { createMemorySavedForms } from './stores/memory/saved-forms.ts';
import { createMemorySessionEndEvents } from './stores/memory/session-end-events.ts';
import { createMemoryTokenStore } from './stores/memory/token-store.ts';
import { createRedisAppTokenStore } from './stores/redis/app-token-store.ts';
import {
  connectRedis,
  createReplicaWait,
  type RedisConnection,
  waitUntilReady,
} from './stores/redis/connection.ts';
import { createRedisConsumedStates } from './stores/redis/consumed-states.ts';
import { createRedisSessionIndex } from './stores/redis/indexed-sessions.ts';
import { createRedisProviderLogouts } from './stores/redis/provider-logouts.ts';
import { createRedisRateLimitStore } from './stores/redis/rate-limit-store.ts';
import { createRedisRevocationOutbox } from './stores/redis/revocation-outbox.ts';
import { createRedisSavedForms } from './stores/redis/saved-forms.ts';
import { createRedisSessionEndEvents } from './stores/redis/session-end-events.ts';
import { createRedisSessionStore } from './stores/redis/session-store.ts';
import { createRedisTokenStore } from './stores/redis/token-store.ts';
import { elapsedMs } from './time/elapsed.ts';
import type { AppTokenStore } from './tokens/app-token-store.ts';
import type { SessionIndex } from './tokens/indexed-sessions.ts';
import type { ProviderLogouts } from './tokens/provider-logouts.ts';
import type { Revocation, RevocationOutbox } from './tokens/revocation-outbox.ts';
import type { SessionEndEvents } from './tokens/session-end-events.ts';
import { absoluteEndOf, type TokenStore } from './tokens/token-store.ts';

export type { RedisConnection };

/** Everything through which the app reaches the outside; tests can replace each member. */
export interface Deps {
  /** The time of day, for points in time that others know too, such as when a token expires. Somebody may set it. */
  readonly now: () => number;
  /** For durations. */
  readonly elapsed: () => number;
  readonly log: Logger;
  readonly audit: AuditLog;
  /** Calls the authorization server. */
  readonly fetch: typeof globalThis.fetch;
  /** Connections to the APIs. */
  readonly upstream: Dispatcher;
  readonly tokenStore: TokenStore;
  readonly sessionIndex: SessionIndex;
  readonly appTokenStore: AppTokenStore;
  readonly sessionEndEvents: SessionEndEvents;
  readonly consumedStates: ConsumedStates;
  readonly providerLogouts: ProviderLogouts;
  readonly savedForms: SavedForms;
  readonly sessionStore: Store;
  /** Creates the outbox, which revokes tokens with `attempt`: true when the revocation needs no further attempt. */
  readonly revocationOutbox: (attempt: (revocation: Revocation) => Promise<boolean>) => RevocationOutbox;
  /** Creates the counters of the rate limit with this name. */
  readonly rateLimitStore: (name: string) => RateLimitStore;
  readonly metrics: Metrics;
  /** What the stores contain, for the process that replaces this one; absent with Redis, which contains it. */
  readonly handOver?: HandOver;
  /** Resolves when the stores are reachable, or after two seconds, so that startup never depends on them. */
  connected(): Promise<void>;
  /** Closes every connection. */
  close(): Promise<void>;
}

/**
 * The stores and connections for this configuration: Redis when `REDIS_URL` is set, else memory.
 * @param redisClient a client of the app around Latchkey, to whose Redis Latchkey connects instead
 */
export function createDeps(
  config: Config,
  {
    now = Date.now,
    elapsed = elapsedMs,
    log = createLogger(config.logLevel, undefined, config.logFormat),
    audit: plainAudit = createAuditLog(config, { now, log }),
    redisClient,
  }: Partial<Pick<Deps, 'now' | 'elapsed' | 'log' | 'audit'>> & {
    readonly redisClient?: RedisConnection;
  } = {},
): Deps {
  const upstream = createUpstreamAgent(config.limits.upstreamConnections);
  const metrics = createMetrics();
  const audit = measureAudit(plainAudit, metrics);
  const shared = { now, elapsed, log, audit, metrics, fetch: globalThis.fetch, upstream };
  const onExpired = (sessionId: string) => audit.record('session_ended', { reason: 'expired', sessionId });
  if (!config.redis) {
    const sessionEndEvents = createMemorySessionEndEvents();
    const sessionStore = new MemoryStore();
    const handOver = createHandOver(config.session, sessionStore);
    const sessionIndex = createMemorySessionIndex(now, onExpired, handOver.map);
    return {
      ...shared,
      appTokenStore: createMemoryAppTokenStore(now, elapsed),
      sessionEndEvents,
      sessionIndex,
      tokenStore: createMemoryTokenStore(
        config.session,
        now,
        sessionEndEvents,
        sessionIndex,
        elapsed,
        handOver.map,
      ),
      consumedStates: createMemoryConsumedStates(now, handOver.map),
      providerLogouts: createMemoryProviderLogouts(now, handOver.map),
      savedForms: createMemorySavedForms(now, config.limits.savedFormsBytes, handOver.map),
      revocationOutbox: (attempt) => createMemoryRevocationOutbox(attempt, now, elapsed, handOver.map),
      sessionStore,
      handOver,
      rateLimitStore: () => createMemoryRateLimitStore(elapsed),
      connected: async () => {},
      async close() {
        sessionIndex.close();
        await upstream.close();
        await audit.close();
      },
    };
  }
  const { keyPrefix, waitReplicas } = config.redis;
  const redis = connectRedis({ ...config.redis, client: redisClient }, log);
  measureRedis(redis, metrics);
  const waitForReplicas = createReplicaWait(redis, waitReplicas, log);
  const { secrets, registration, idleSeconds } = config.session;
  const sessionEndEvents = createRedisSessionEndEvents(redis, registration, log, keyPrefix);
  const leaseWait = metrics.leaseWaitSeconds({});
  const sealed = { redis, keyPrefix, secrets, registration, now, elapsed };
  const sessionIndex = createRedisSessionIndex({ ...sealed, lifetime: config.session, log, onExpired });
  const tokenStore = createRedisTokenStore({
    ...sealed,
    index: sessionIndex,
    waitForReplicas,
    lifetime: config.session,
    sessionEndEvents,
    leaseWait,
  });
  return {
    ...shared,
    appTokenStore: createRedisAppTokenStore({ ...sealed, registration: config.app.registration, leaseWait }),
    sessionEndEvents,
    sessionIndex,
    tokenStore: cacheRecords(tokenStore, {
      changes: sessionEndEvents,
      maxAgeMs: config.session.cacheMs,
      absoluteEndOf: (record) => absoluteEndOf(record, config.session),
      now,
    }),
    consumedStates: createRedisConsumedStates(redis, registration, keyPrefix),
    providerLogouts: createRedisProviderLogouts(sealed),
    savedForms: createRedisSavedForms({ ...sealed, maxBytes: config.limits.savedFormsBytes }),
    revocationOutbox: (attempt) => createRedisRevocationOutbox({ ...sealed, attempt }),
    sessionStore: createRedisSessionStore({
      ...{ redis, keyPrefix, registration, idleSeconds },
      cookie: cookieOptions(config.session),
    }),
    rateLimitStore: (name) => createRedisRateLimitStore(redis, registration, name, keyPrefix),
    connected: () => waitUntilReady(redis),
    async close() {
      sessionEndEvents.close();
      sessionIndex.close();
      await redis.ping().catch(() => undefined); // the commands before it, such as the release of a lease, are sent
      redis.disconnect();
      await upstream.close();
      await audit.close();
    },
  };
}
