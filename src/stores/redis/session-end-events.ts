import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Cluster, type Redis } from 'ioredis';
import type { Logger } from '../../logger.ts';
import type { SessionEndEvents } from '../../tokens/session-end-events.ts';
import type { RedisConnection } from './connection.ts';

/** Other apps on this Redis may use it too: an id nobody has a stream of is nobody's. */
const channel = 'latchkey:session-ends';
const pauseMs = 200;
/** A connection that only reads would not notice that the other end is gone. */
const pingIntervalMs = 5_000;

/**
 * Every instance on the same Redis hears the others, through a connection of its own that is made anew, with `onGap`,
 * whenever it was lost. Redis keeps no message for those who are away.
 */
export function createRedisSessionEndEvents(redis: RedisConnection, log: Logger): SessionEndEvents {
  const closed = new AbortController();
  let subscriber: Redis | undefined;
  let onEnd = (_id: string) => {};

  /** Settles when the connection is lost; `onSubscribed` is called when it is there. */
  async function subscribeUntilDisconnected(onSubscribed: () => void): Promise<void> {
    subscriber = createSubscriber(redis);
    const lost = once(subscriber, 'end');
    lost.catch(() => undefined); // `once` rejects when an error comes first, which may be before it is waited for
    subscriber.on('error', () => undefined); // what comes of it is seen below
    subscriber.on('message', (_channel, id) => onEnd(id));
    const pingTimer = setInterval(() => {
      subscriber?.ping().catch(() => subscriber?.disconnect());
    }, pingIntervalMs);
    try {
      await subscriber.subscribe(channel);
      onSubscribed();
      await lost;
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
          log.warn({ err: error }, 'ends of sessions on other instances are not heard now');
        isSubscribed = false; // one line for an outage, not one for each try
      });
      await delay(pauseMs, undefined, { ref: false });
    }
  }

  return {
    publish(id) {
      onEnd(id);
      redis.publish(channel, id).catch((error: unknown) => {
        log.warn({ err: error }, 'other instances could not be told that a session has ended');
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

/** A connection to the same Redis that does not come back by itself; of a cluster's nodes any will do. */
function createSubscriber(redis: RedisConnection): Redis {
  const options = { retryStrategy: () => null, enableOfflineQueue: true, enableAutoPipelining: false };
  if (!(redis instanceof Cluster)) return redis.duplicate(options);
  const nodes = redis.nodes();
  const node = nodes[Math.floor(Math.random() * nodes.length)];
  if (!node) throw new Error('no node of the cluster is known');
  return node.duplicate({ ...options, lazyConnect: false });
}
