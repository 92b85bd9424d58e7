import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, type Redis } from 'ioredis';
import type { Logger } from '../../logger.ts';
import type { SessionEndEvents } from '../../tokens/session-end-events.ts';
import { heartbeatIntervalMs, type RedisConnection } from './connection.ts';
import { defaultKeyPrefix } from './keys.ts';

const reconnectDelayMs = 200;

/**
 * Session-end events across all instances of one client registration on the same Redis. They arrive on a separate connection, which is opened
 * again whenever it is lost; `onGap` is then called, because Redis stores no messages for disconnected subscribers.
 */
export function createRedisSessionEndEvents(
  redis: RedisConnection,
  registration: string,
  log: Logger,
  keyPrefix = defaultKeyPrefix,
): SessionEndEvents {
  const channel = `${keyPrefix}session-ends:${registration}`;
  const closed = new AbortController();
  let subscriber: Redis | undefined;
  let onEnd = (_id: string) => {};

  /** Calls `onSubscribed` when the subscription is active, and settles when the connection is lost. */
  async function subscribeUntilDisconnected(onSubscribed: () => void): Promise<void> {
    subscriber = createSubscriber(redis);
    const disconnected = once(subscriber, 'end');
    disconnected.catch(() => undefined); // `once` rejects on an error, which may come before it is awaited
    subscriber.on('error', () => undefined); // the failure it causes is handled below
    subscriber.on('message', (_channel, id) => onEnd(id));
    // A connection that only receives would not notice that its peer is gone; one that owes a reply is closed.
    const pingTimer = setInterval(() => {
      subscriber?.ping().catch(() => undefined);
    }, heartbeatIntervalMs);
    try {
      await subscriber.subscribe(channel);
      onSubscribed();
      await disconnected;
    } finally {
      clearInterval(pingTimer);
      if (subscriber.status !== 'end') subscriber.disconnect();
    }
  }

  async function keepSubscribed(onGap: () => void): Promise<void> {
    let isSubscribed = true;
    const onSubscribed = () => {
      isSubscribed = true;
      onGap();
    };
    while (!closed.signal.aborted) {
      await subscribeUntilDisconnected(onSubscribed).catch((error: unknown) => {
        if (isSubscribed && !closed.signal.aborted)
          log.warn(
            { err: error },
            'session-end subscription failed; streams may stay open up to 30 s after a logout on another instance',
          );
        isSubscribed = false; // one log line per outage, not per attempt
      });
      await delay(reconnectDelayMs, undefined, { ref: false });
    }
  }

  return {
    publish(id) {
      onEnd(id);
      redis.publish(channel, id).catch((error: unknown) => {
        log.warn(
          { err: error },
          'failed to notify other instances that a session has ended; their streams may stay open up to 30 s',
        );
      });
    },
    listen(listener, onGap) {
      onEnd = listener;
      void keepSubscribed(onGap);
    },
    close() {
      closed.abort();
      subscriber?.disconnect();
    },
  };
}

/** A connection to the same Redis, in a cluster to any node, that does not reconnect automatically. */
function createSubscriber(redis: RedisConnection): Redis {
  const options = { retryStrategy: () => null, enableOfflineQueue: true, enableAutoPipelining: false };
  if (!(redis instanceof Cluster)) return redis.duplicate(options);
  const nodes = redis.nodes();
  const node = nodes[Math.floor(Math.random() * nodes.length)];
  if (!node) throw new Error('no known Redis Cluster node');
  return node.duplicate({ ...options, lazyConnect: false });
}
