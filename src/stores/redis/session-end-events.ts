import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, type Redis } from 'ioredis';
import type { Logger } from '../../logger.ts';
import type { SessionEndEvents } from '../../tokens/session-end-events.ts';
import { type EndedBy, endedByValues } from '../../tokens/token-store.ts';
import { heartbeatIntervalMs, type RedisConnection } from './connection.ts';
import { describeFailure, isPermissionError } from './connection-log.ts';
import { defaultKeyPrefix } from './keys.ts';

const firstRetryDelayMs = 200;
const maxRetryDelayMs = 2_000;
/** A user that may not subscribe usually never may. */
const maxRefusedDelayMs = 300_000;

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
  let isPublishing = true;
  let onEnd = (_id: string, _by?: EndedBy) => {};

  /** Calls `onSubscribed` when the subscription is active, and settles when the connection is lost. */
  async function subscribeUntilDisconnected(onSubscribed: () => void): Promise<void> {
    subscriber = createSubscriber(redis);
    const disconnected = once(subscriber, 'end');
    disconnected.catch(() => undefined); // `once` rejects on an error, which may come before it is awaited
    subscriber.on('error', () => undefined); // the failure it causes is handled below
    subscriber.on('message', (_channel, message: string) => onEnd(...readMessage(message)));
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
    let delayMs = firstRetryDelayMs;
    const onSubscribed = () => {
      isSubscribed = true;
      delayMs = firstRetryDelayMs;
      onGap();
    };
    while (!closed.signal.aborted) {
      const nextDelayMs = await subscribeUntilDisconnected(onSubscribed).then(
        () => firstRetryDelayMs,
        (error: unknown) => {
          if (isSubscribed && !closed.signal.aborted)
            log.warn(
              describeFailure(error),
              'session-end subscription failed; streams may stay open up to 30 s after a logout on another instance',
            );
          isSubscribed = false; // one log line per outage, not per attempt
          const isRefused = isPermissionError(error);
          return Math.min(2 * delayMs, isRefused ? maxRefusedDelayMs : maxRetryDelayMs);
        },
      );
      await delay(delayMs, undefined, { ref: false });
      delayMs = nextDelayMs;
    }
  }

  return {
    publish(id, by) {
      onEnd(id, by);
      redis.publish(channel, by ? `${id} ${by}` : id).then(
        () => {
          isPublishing = true;
        },
        (error: unknown) => {
          if (isPublishing)
            log.warn(
              describeFailure(error),
              'failed to notify other instances that a session has ended; their streams may stay open up to 30 s',
            );
          isPublishing = false; // one log line until it works again
        },
      );
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

/** The id, and who has ended the session, if the message says it. */
function readMessage(message: string): readonly [string, EndedBy | undefined] {
  const [id = '', by] = message.split(' ');
  return [id, endedByValues.find((each) => each === by)];
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
