import { once } from 'node:events';
import { Cluster, Redis } from 'ioredis';
import { parseRedisUrl } from '../../config/redis-url.ts';
import type { Secret } from '../../crypto/secret.ts';
import type { Logger } from '../../logger.ts';

export type RedisConnection = Redis | Cluster;

const replicaWaitTimeoutMs = 500;
const readyTimeoutMs = 2_000;
const reconnectGraceMs = 1_500;
const reconnectDelayMs = (attempt: number) => Math.min(50 * attempt, 500);

/**
 * A connection that fails fast while Redis is unavailable, so that requests get their 503 within two seconds, and that
 * reconnects automatically, also to the new master after a failover.
 */
export function connectRedis(url: Secret, log: Logger): RedisConnection {
  const parsed = parseRedisUrl(url.reveal());
  if (!parsed) throw new Error('REDIS_URL has an unsupported format');
  const { kind, nodes, name, tls, database, username, password } = parsed;
  const commonOptions = {
    connectTimeout: 1_000,
    commandTimeout: 800, // a command may first wait for the pipeline before it, and both must fail within two seconds
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    retryStrategy: reconnectDelayMs,
    // A demoted master responds with READONLY; reconnecting leads to the current master.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls && { tls: {} }),
  };

  function connect(): RedisConnection {
    if (kind === 'cluster')
      return new Cluster([...nodes], {
        redisOptions: commonOptions,
        enableAutoPipelining: true,
        enableOfflineQueue: false,
        clusterRetryStrategy: reconnectDelayMs,
      });
    if (kind === 'sentinel')
      return new Redis({
        ...commonOptions,
        enableAutoPipelining: true,
        sentinels: [...nodes],
        name,
        sentinelRetryStrategy: reconnectDelayMs,
        failoverDetector: true,
      });
    return new Redis({ ...commonOptions, ...nodes[0], db: database, enableAutoPipelining: true });
  }

  const redis = connect();
  redis.on('error', (error) => log.warn({ err: error }, 'Redis connection error'));
  redis.on('ready', () => log.info('connected to Redis'));
  return redis;
}

/**
 * Returns a function that settles when `replicas` replicas have every write made so far (Redis WAIT), or after half a
 * second, with a warning: the write has succeeded either way, but a failover may lose it.
 */
export function createReplicaWait(
  redis: RedisConnection,
  replicas: number,
  log: Logger,
): () => Promise<void> {
  return async function waitForReplicas() {
    if (replicas === 0 || redis instanceof Cluster) return;
    const confirmed = await redis.wait(replicas, replicaWaitTimeoutMs);
    if (confirmed < replicas)
      log.warn(
        { confirmed, replicas },
        'write not confirmed by enough Redis replicas; a failover may lose it',
      );
  };
}

/**
 * Returns a function that is true during the reconnect grace, the first 1.5 seconds after Redis has reconnected.
 * Instances with pending writes write first: a failover can lose leases, and an instance that refreshed before it must
 * not be overtaken by one that reads the older record.
 */
export function createReconnectGrace(redis: RedisConnection): () => boolean {
  let hasBeenReady = redis.status === 'ready';
  let reconnectedAt = Number.NEGATIVE_INFINITY;
  redis.on('ready', () => {
    if (hasBeenReady) reconnectedAt = Date.now();
    hasBeenReady = true;
  });
  return () => Date.now() - reconnectedAt < reconnectGraceMs;
}

/** Settles when Redis accepts commands, or after two seconds. */
export async function waitUntilReady(redis: RedisConnection): Promise<void> {
  if (redis.status === 'ready') return;
  await once(redis, 'ready', { signal: AbortSignal.timeout(readyTimeoutMs) }).catch(() => undefined); // it was logged
}
