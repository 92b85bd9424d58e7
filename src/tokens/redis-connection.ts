import { once } from 'node:events';
import { Cluster, Redis } from 'ioredis';
import type { Logger } from '../logger.ts';
import { parseRedisUrl } from '../redis-url.ts';
import type { Secret } from '../secret.ts';

export type RedisConnection = Redis | Cluster;

const longestConfirmationMs = 500;
const longestStartMs = 2_000;
const settlingMs = 1_500;
const comeBack = (attempt: number) => Math.min(50 * attempt, 500);

/**
 * A connection that fails fast while Redis is away, so that requests get their 503 within two seconds, and that comes
 * back by itself: to the new master after a failover, too.
 */
export function connectRedis(url: Secret, log: Logger): RedisConnection {
  const place = parseRedisUrl(url.reveal());
  if (!place) throw new Error('REDIS_URL is of no form that is known');
  const { kind, nodes, name, tls, database, username, password } = place;
  const patience = {
    connectTimeout: 1_000,
    commandTimeout: 800, // twice that, as a command may first wait for the pipeline before it, is below two seconds
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    retryStrategy: comeBack,
    // A master that was demoted says READONLY; the connection is then made anew, to whoever is master now.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls && { tls: {} }),
  };

  function connect(): RedisConnection {
    if (kind === 'cluster')
      return new Cluster([...nodes], {
        redisOptions: patience,
        enableAutoPipelining: true,
        enableOfflineQueue: false,
        clusterRetryStrategy: comeBack,
      });
    if (kind === 'sentinel')
      return new Redis({
        ...patience,
        enableAutoPipelining: true,
        sentinels: [...nodes],
        name,
        sentinelRetryStrategy: comeBack,
        failoverDetector: true,
      });
    return new Redis({ ...patience, ...nodes[0], db: database, enableAutoPipelining: true });
  }

  const redis = connect();
  redis.on('error', (error) => log.warn({ err: error }, 'Redis cannot be reached'));
  redis.on('ready', () => log.info('Redis is connected'));
  return redis;
}

/**
 * Settles when `replicas` have every write made so far (Redis WAIT), or after half a second, with a warning: the write
 * stands either way, but a failover may lose it.
 */
export function createConfirmation(
  redis: RedisConnection,
  replicas: number,
  log: Logger,
): () => Promise<void> {
  return async function confirmed() {
    if (replicas === 0 || redis instanceof Cluster) return;
    const reached = await redis.wait(replicas, longestConfirmationMs);
    if (reached < replicas)
      log.warn({ reached, replicas }, 'a write is not confirmed by enough Redis replicas');
  };
}

/**
 * True for the first moment after Redis has come back. It belongs to those who still have something to write: a failover
 * can lose leases, and whoever refreshed before it must not be overtaken by someone who reads the older record.
 */
export function createSettling(redis: RedisConnection): () => boolean {
  let hasBeenReady = redis.status === 'ready';
  let cameBackAt = Number.NEGATIVE_INFINITY;
  redis.on('ready', () => {
    if (hasBeenReady) cameBackAt = Date.now();
    hasBeenReady = true;
  });
  return () => Date.now() - cameBackAt < settlingMs;
}

/** Settles when Redis can be asked, or after two seconds. */
export async function untilReady(redis: RedisConnection): Promise<void> {
  if (redis.status === 'ready') return;
  await once(redis, 'ready', { signal: AbortSignal.timeout(longestStartMs) }).catch(() => undefined); // it was logged
}
