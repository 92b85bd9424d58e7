import { once } from 'node:events';
import { Cluster, Redis } from 'ioredis';
import { parseRedisUrl } from '../../config/redis-url.ts';
import type { Secret } from '../../crypto/secret.ts';
import type { Logger } from '../../logger.ts';

export type RedisConnection = Redis | Cluster;

const replicaWaitTimeoutMs = 500;
const startTimeoutMs = 2_000;
const reconnectGraceMs = 1_500;
const retryDelay = (attempt: number) => Math.min(50 * attempt, 500);

/**
 * A connection that fails fast while Redis is away, so that requests get their 503 within two seconds, and that comes
 * back by itself: to the new master after a failover, too.
 */
export function connectRedis(url: Secret, log: Logger): RedisConnection {
  const parsed = parseRedisUrl(url.reveal());
  if (!parsed) throw new Error('REDIS_URL is of no form that is known');
  const { kind, nodes, name, tls, database, username, password } = parsed;
  const commonOptions = {
    connectTimeout: 1_000,
    commandTimeout: 800, // twice that, as a command may first wait for the pipeline before it, is below two seconds
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    retryStrategy: retryDelay,
    // A master that was demoted says READONLY; the connection is then made anew, to whoever is master now.
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
        clusterRetryStrategy: retryDelay,
      });
    if (kind === 'sentinel')
      return new Redis({
        ...commonOptions,
        enableAutoPipelining: true,
        sentinels: [...nodes],
        name,
        sentinelRetryStrategy: retryDelay,
        failoverDetector: true,
      });
    return new Redis({ ...commonOptions, ...nodes[0], db: database, enableAutoPipelining: true });
  }

  const redis = connect();
  redis.on('error', (error) => log.warn({ err: error }, 'Redis connection error'));
  redis.on('ready', () => log.info('Redis is connected'));
  return redis;
}

/**
 * Settles when `replicas` have every write made so far (Redis WAIT), or after half a second, with a warning: the write
 * stands either way, but a failover may lose it.
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
      log.warn({ confirmed, replicas }, 'a write is not confirmed by enough Redis replicas');
  };
}

/**
 * True for the first moment after Redis has come back. It belongs to those who still have something to write: a failover
 * can lose leases, and whoever refreshed before it must not be overtaken by someone who reads the older record.
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

/** Settles when Redis can be asked, or after two seconds. */
export async function waitUntilReady(redis: RedisConnection): Promise<void> {
  if (redis.status === 'ready') return;
  await once(redis, 'ready', { signal: AbortSignal.timeout(startTimeoutMs) }).catch(() => undefined); // it was logged
}
