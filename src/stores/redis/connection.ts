import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster, Redis, Result } from 'ioredis';
import { parseRedisUrl } from '../../config/redis-url.ts';
import type { Secret } from '../../crypto/secret.ts';
import type { Logger } from '../../logger.ts';
import { elapsedMs } from '../../time/elapsed.ts';
import { type ClientBehavior, createClient, type SentinelCredentials } from './client/create-client.ts';
import { describeClient, duplicateClient } from './client/duplicate-client.ts';
import { watchLiveness } from './client/liveness.ts';
import { isCluster, type RedisConnection } from './client/redis-connection.ts';
import { createConnectionLog, reportConnections } from './connection-log.ts';

export type { RedisConnection };

declare module 'ioredis' {
  interface RedisCommander<Context> {
    /** `eval` with bulk strings as Buffers, which the types of ioredis lack. */
    evalBuffer(script: string, keys: number, ...args: (string | Buffer)[]): Result<unknown, Context>;
  }
}

const replicaWaitTimeoutMs = 500;
const readyTimeoutMs = 2_000;

/** The longest times of a reconnect, from which the reconnect grace is computed. */
const connectTimeoutMs = 1_000;
/** A command may first wait for the pipeline before it, and both must fail within two seconds. */
const commandTimeoutMs = 800;
const maxReconnectDelayMs = 500;
/** How long a connection that is being closed may take to send what is left. */
const disconnectTimeoutMs = 200;
/** How often the nodes of a cluster are read, and how long the first one that is asked may hang. */
const clusterRefreshIntervalMs = 1_000;
const clusterRefreshTimeoutMs = 1_000;
/** The longest pause between two attempts to write tokens that were granted before Redis became unavailable. */
const maxWriteRetryDelayMs = 200;

const reconnectDelayMs = (attempt: number) => Math.min(50 * attempt, maxReconnectDelayMs);

/** Options of ioredis: how soon a command fails, and how soon an instance reconnects. */
export const connectionTiming = {
  connectTimeout: connectTimeoutMs,
  commandTimeout: commandTimeoutMs,
  disconnectTimeout: disconnectTimeoutMs,
  /** The longest pause between two looks whether Redis has loaded its data. */
  maxLoadingRetryTime: maxReconnectDelayMs,
  retryStrategy: reconnectDelayMs,
} as const;

/** Which Redis: that of `REDIS_URL`, or the one that the app around Latchkey has a client for. */
export interface RedisSource {
  readonly url?: Secret | undefined;
  readonly sentinel?: SentinelCredentials | undefined;
  readonly client?: RedisConnection | undefined;
}

/**
 * A connection that fails fast while Redis is unavailable, so that requests get their 503 within two seconds, and that
 * reconnects automatically, also to the new master after a failover.
 */
export function connectRedis({ url, sentinel = {}, client }: RedisSource, log: Logger): RedisConnection {
  const target = client ? describeClient(client) : url && parseRedisUrl(url.reveal());
  if (!target) throw new Error('REDIS_URL has an unsupported format');
  const connectionLog = createConnectionLog(log, target, client && 'the option redis');
  const behavior: ClientBehavior = {
    connection: {
      ...connectionTiming,
      disableClientInfo: true, // a minimal user may not set it, and the refusal would be in the ACL log of Redis
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      // A demoted master responds with READONLY, within the error of a script; reconnecting leads to the current master.
      reconnectOnError(error: Error) {
        if (!error.message.includes('READONLY')) return false;
        connectionLog.failed(new Error('READONLY'));
        return true;
      },
    },
    sentinel: {
      sentinelRetryStrategy: reconnectDelayMs,
      sentinelCommandTimeout: connectTimeoutMs,
      failoverDetector: true,
    },
    cluster: {
      slotsRefreshInterval: clusterRefreshIntervalMs,
      slotsRefreshTimeout: clusterRefreshTimeoutMs,
      enableAutoPipelining: true,
      enableOfflineQueue: false,
      // Without an offline queue it never succeeds when the nodes announce other addresses than those in REDIS_URL.
      enableReadyCheck: false,
      clusterRetryStrategy: reconnectDelayMs,
    },
  };
  const redis = client ? duplicateClient(client, behavior) : createClient(target, sentinel, behavior);
  reportConnections(redis, connectionLog);
  // After a refused SELECT, ioredis would continue in database 0, which may be that of another app.
  redis.on('error', ({ command }: Error & { readonly command?: { readonly name: string } }) => {
    if (command?.name === 'select' && !isCluster(redis)) redis.disconnect(true);
  });
  watchLiveness(redis);
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
    if (replicas === 0 || isCluster(redis)) return;
    const confirmed = await redis.wait(replicas, replicaWaitTimeoutMs);
    if (confirmed < replicas)
      log.warn(
        { confirmed, replicas },
        'write not confirmed by enough Redis replicas; a failover may lose it',
      );
  };
}

const reconnectGraces = new WeakMap<RedisConnection, () => boolean>();

/** The reconnect grace of a connection, which all its users share: each one more would add listeners to it. */
export function findReconnectGrace(redis: RedisConnection): () => boolean {
  const isInGrace = reconnectGraces.get(redis) ?? watchReconnects(redis);
  reconnectGraces.set(redis, isInGrace);
  return isInGrace;
}

/**
 * Returns a function that is true during the reconnect grace: for as long after Redis has come back as another instance
 * may need to reconnect and to write its pending tokens. An outage or a failover can lose leases, and an instance that
 * refreshed before it must not be overtaken by one that reads the older record. Redis has also come back when a shard of
 * a cluster has another master, and when the first attempts to connect have failed.
 */
function watchReconnects(redis: RedisConnection): () => boolean {
  const graceMs = maxReconnectMs(redis);
  let reconnectedAt = Number.NEGATIVE_INFINITY;
  let hasFailed = false;
  const startGrace = () => {
    reconnectedAt = elapsedMs();
  };
  redis.on('reconnecting', () => {
    hasFailed = true;
  });
  redis.on('ready', () => {
    if (hasFailed) startGrace();
    hasFailed = false;
  });
  const checkMasters = isCluster(redis) ? watchMasters(redis, startGrace) : () => {};
  return () => {
    checkMasters();
    return elapsedMs() - reconnectedAt < graceMs;
  };
}

/** Calls `onChange` when a shard has a new master or its master has reconnected; the function returned checks at once. */
function watchMasters(cluster: Cluster, onChange: () => void): () => void {
  let known: ReadonlySet<Redis> | undefined;

  function check(): void {
    if (cluster.status !== 'ready') return; // before that, these are the nodes in REDIS_URL
    const masters = cluster.nodes('master');
    const before = known;
    known = new Set(masters);
    if (before && masters.some((node) => !before.has(node))) onChange();
  }

  cluster.on('ready', check);
  cluster.on('refresh', check);
  cluster.on('+node', (node: Redis) => {
    const isNew = known !== undefined; // its master may have been gone for a while, unlike those found at the start
    node.once('ready', () => {
      if (isNew && !node.options.readOnly) onChange();
    });
  });
  return check;
}

/** The longest time from when the first instance has reconnected until the last one has written its pending tokens. */
function maxReconnectMs(redis: RedisConnection): number {
  const hosts = 1 + (isCluster(redis) ? 0 : (redis.options.sentinels?.length ?? 0)); // that may hang in one attempt
  const discoveryMs = isCluster(redis) ? clusterRefreshIntervalMs + clusterRefreshTimeoutMs : 0;
  return (
    discoveryMs + hosts * connectTimeoutMs + maxReconnectDelayMs + maxWriteRetryDelayMs + commandTimeoutMs
  );
}

/**
 * Settles when Redis has accepted commands for the length of the reconnect grace, because it may have come back only
 * now; or after two seconds, when it is unavailable.
 */
export async function waitUntilReady(redis: RedisConnection): Promise<void> {
  if (redis.status !== 'ready') {
    const isReady = once(redis, 'ready', { signal: AbortSignal.timeout(readyTimeoutMs) });
    if (!(await isReady.catch(() => undefined))) return; // it was logged
  }
  await delay(maxReconnectMs(redis));
}

/** The result of `write` once Redis is available again; rejects only when it fails after `isPastEnd`. */
export async function retryUntilWritten<T>(write: () => Promise<T>, isPastEnd: () => boolean): Promise<T> {
  for (;;) {
    await delay(maxWriteRetryDelayMs * (0.5 + Math.random() / 2), undefined, { ref: false });
    try {
      return await write();
    } catch (error) {
      if (isPastEnd()) throw error;
    }
  }
}
