import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Logger } from '../../logger.ts';
import { elapsedMs } from '../../time/elapsed.ts';
import type { SessionEndEvents } from '../../tokens/session-end-events.ts';
import { type EndedBy, endedByValues } from '../../tokens/token-store.ts';
import type { RecordChanges } from '../cached-token-store.ts';
import { watchLiveness } from './client/liveness.ts';
import { isCluster } from './client/redis-connection.ts';
import type { RedisConnection } from './connection.ts';
import { describeFailure, isPermissionError } from './connection-log.ts';
import { defaultKeyPrefix } from './keys.ts';

/** How often the subscription is checked: a record is cached only while it is known to work. */
const confirmIntervalMs = 100;
const changedMark = 'changed';
const firstRetryDelayMs = 200;
const maxRetryDelayMs = 2_000;
/** A user that may not subscribe usually never may. */
const maxRefusedDelayMs = 300_000;
/** A subscription that was active for this long counts as restored: its loss is a new outage. */
const stableMs = 10_000;

/**
 * Session-end events across all instances of one client registration on the same Redis. They arrive on a separate connection, which is opened
 * again whenever it is lost; `onGap` is then called, because Redis stores no messages for disconnected subscribers.
 */
export function createRedisSessionEndEvents(
  redis: RedisConnection,
  registration: string,
  log: Logger,
  keyPrefix = defaultKeyPrefix,
): SessionEndEvents & RecordChanges {
  const channel = `${keyPrefix}session-ends:${registration}`;
  const closed = new AbortController();
  let subscriber: Redis | undefined;
  let isSubscribed = false;
  let isPublishing = true;
  let onEnd = (_id: string, _by?: EndedBy) => {};
  let onChange = (_id: string | undefined) => {};
  let confirmedAt = Number.NEGATIVE_INFINITY;

  /** Calls `onSubscribed` when the subscription is active, and settles when the connection is lost. */
  async function subscribeUntilDisconnected(onSubscribed: () => void): Promise<void> {
    subscriber = createSubscriber(redis);
    watchLiveness(subscriber);
    const disconnected = once(subscriber, 'end');
    disconnected.catch(() => undefined); // `once` rejects on an error, which may come before it is awaited
    subscriber.on('error', () => undefined); // the failure it causes is handled below
    subscriber.on('message', (_channel, message: string) => receive(message));
    const current = subscriber;
    const confirmTimer = setInterval(() => confirm(current), confirmIntervalMs);
    try {
      await subscriber.subscribe(channel);
      isSubscribed = true;
      onChange(undefined);
      onSubscribed();
      await disconnected;
    } finally {
      isSubscribed = false;
      confirmedAt = Number.NEGATIVE_INFINITY;
      clearInterval(confirmTimer);
      if (subscriber.status !== 'end') subscriber.disconnect();
    }
  }

  /** Redis sends the reply after all messages that were published before. */
  function confirm(connection: Redis): void {
    const sentAt = elapsedMs();
    connection.ping().then(
      () => {
        if (isSubscribed && connection === subscriber) confirmedAt = sentAt;
      },
      () => undefined,
    );
  }

  function receive(message: string): void {
    const [id = '', mark] = message.split(' ');
    onChange(id);
    if (mark !== changedMark)
      onEnd(
        id,
        endedByValues.find((each) => each === mark),
      );
  }

  async function keepSubscribed(onGap: () => void): Promise<void> {
    let isReported = false;
    let delayMs = firstRetryDelayMs;
    await firstConnectionAttempt(redis);
    while (!closed.signal.aborted) {
      let subscribedAt = Number.POSITIVE_INFINITY;
      const onSubscribed = () => {
        subscribedAt = elapsedMs();
        onGap();
      };
      const error: unknown = await subscribeUntilDisconnected(onSubscribed).catch(
        (reason: unknown) => reason,
      );
      if (elapsedMs() - subscribedAt >= stableMs) {
        isReported = false;
        delayMs = firstRetryDelayMs;
      }
      if (error !== undefined && !isReported && !closed.signal.aborted) {
        isReported = true; // one log line per outage, not per attempt
        log.warn(
          describeFailure(error),
          'session-end subscription failed; streams may stay open up to 30 s after a logout on another instance',
        );
      }
      await delay(delayMs, undefined, { ref: false });
      delayMs = nextRetryDelayMs(delayMs, error);
    }
  }

  return {
    publishChange(id) {
      onChange(id);
      redis.publish(channel, `${id} ${changedMark}`).catch(() => undefined); // as for `publish`, which reports it
    },
    watch(listener) {
      onChange = listener;
    },
    confirmedAt: () => confirmedAt,
    publish(id, by) {
      onChange(id);
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

/** The pause after the one of `delayMs`, when another attempt has failed with `error`. */
export function nextRetryDelayMs(delayMs: number, error: unknown): number {
  return Math.min(2 * delayMs, isPermissionError(error) ? maxRefusedDelayMs : maxRetryDelayMs);
}

/** Settles when the nodes of a cluster are known, or cannot be found out; before, nobody could subscribe. */
async function firstConnectionAttempt(redis: RedisConnection): Promise<void> {
  if (!isCluster(redis) || redis.status !== 'connecting') return;
  await new Promise((resolve) => {
    redis.once('ready', resolve).once('close', resolve);
  });
}

/** A connection to the same Redis, in a cluster to any node, that does not reconnect automatically. */
function createSubscriber(redis: RedisConnection): Redis {
  const options = {
    retryStrategy: () => null,
    enableOfflineQueue: true,
    enableAutoPipelining: false,
    db: 0, // channels belong to no database
  };
  if (!isCluster(redis)) return redis.duplicate(options);
  const nodes = redis.nodes();
  const node = nodes[Math.floor(Math.random() * nodes.length)];
  if (!node) throw new Error('no known Redis Cluster node');
  return node.duplicate({ ...options, lazyConnect: false });
}
