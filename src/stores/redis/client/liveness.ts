import type { Duplex } from 'node:stream';
import type { Cluster, Redis } from 'ioredis';
import { isCluster, type RedisConnection } from './redis-connection.ts';

/** How often a connection is used at least, so that its loss is noticed before a user needs it. */
const heartbeatMs = 500;
/**
 * After so many heartbeats in a row to which nothing was received, the connection is replaced: its peer may be gone without
 * closing it. A lease that was confirmed (six seconds) outlasts the loss: these heartbeats, one more, and the reconnect.
 */
const maxUnanswered = 4;

/**
 * Makes a stall of this process (a busy event loop, a throttled container, a suspended machine) count neither as a
 * failed command nor as a dead connection. Node.js runs the timers that are due after it before it reads what has arrived, so
 * the time-outs of ioredis would expire although Redis has replied.
 */
export function watchLiveness(redis: RedisConnection): void {
  rejectAfterReading(redis);
  const watched = new WeakMap<Duplex, { unanswered: number }>();

  function watch(stream: Duplex) {
    const state = { unanswered: 0 };
    watched.set(stream, state);
    stream.on('data', () => {
      state.unanswered = 0;
    });
    return state;
  }

  function beat(node: Redis): void {
    const { status, stream } = node;
    if (status !== 'ready' && status !== 'connect') return; // another time-out is for the time before
    const state = watched.get(stream) ?? watch(stream);
    if (state.unanswered === maxUnanswered)
      stream.destroy(new Error(`nothing received for ${maxUnanswered * heartbeatMs} ms`));
    state.unanswered += 1;
    if (status === 'ready') node.ping().catch(() => undefined);
  }

  const timer = setInterval(() => {
    for (const node of isCluster(redis) ? redis.nodes() : [redis]) beat(node);
  }, heartbeatMs).unref();
  redis.once('end', () => clearInterval(timer));
}

/** Rejects a command that has timed out once the replies that have arrived meanwhile were read. */
function rejectAfterReading(client: Pick<Cluster, 'sendCommand'>): void {
  const send = client.sendCommand;
  client.sendCommand = function sendCommand(command, ...where) {
    const { promise, reject } = command;
    command.reject = (error) => {
      if (error.message !== 'Command timed out') return reject(error);
      // A cluster pipeline sends a command again, with another promise, if the reply that was read redirects it.
      setImmediate(() => {
        if (command.promise === promise) reject(error);
      });
    };
    return send.call(client, command, ...where);
  };
}
