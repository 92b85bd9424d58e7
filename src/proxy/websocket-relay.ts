import type { WebSocket } from 'ws';
import type { CloseReason, CloseStream } from './open-streams.ts';

/** Above this, the sender is paused until the receiver has caught up. */
const maxBufferedBytes = 1024 * 1024;
const pingIntervalMs = 30_000;
/** Latchkey disconnects a peer that has sent nothing, not even a pong, since this many pings. */
const maxMissedPings = 2;
const closeTimeoutMs = 500;

/** The close codes sent to one peer when the other disappears without a close frame (RFC 6455 7.4.1). */
const clientLostCode = 1001;
const upstreamLostCode = 1011;
const closeFrames = {
  session_ended: { code: 1008, reason: 'session_ended' },
  shutdown: { code: 1001, reason: 'shutdown' },
} as const satisfies Record<CloseReason, { readonly code: number; readonly reason: string }>;

/**
 * Relays messages in both directions, in order and with backpressure, until one peer closes; the other then receives
 * the same close code.
 * @returns closes both, with 1008 `session_ended` or 1001 `shutdown`
 */
export function joinWebSockets(client: WebSocket, upstream: WebSocket): CloseStream {
  relayMessages(client, upstream);
  relayMessages(upstream, client);
  propagateClose(client, upstream, clientLostCode);
  propagateClose(upstream, client, upstreamLostCode);
  terminateWhenSilent(client);
  terminateWhenSilent(upstream);
  return function closeBoth(closeReason) {
    const { code, reason } = closeFrames[closeReason];
    for (const each of [client, upstream]) {
      closeSocket(each, code, reason);
      setTimeout(() => each.terminate(), closeTimeoutMs).unref();
    }
  };
}

function relayMessages(from: WebSocket, to: WebSocket): void {
  function resumeWhenDrained(): void {
    if (from.isPaused && to.bufferedAmount < maxBufferedBytes / 2) from.resume();
  }
  from.on('message', (message, isBinary) => {
    to.send(message, { binary: isBinary }, resumeWhenDrained);
    if (to.bufferedAmount > maxBufferedBytes) from.pause();
  });
}

function propagateClose(from: WebSocket, to: WebSocket, codeWhenLost: number): void {
  from.on('error', () => closeSocket(to, codeWhenLost));
  from.on('close', (code, reason) => {
    if (code === 1005) closeSocket(to);
    else if (code === 1006) closeSocket(to, codeWhenLost);
    else closeSocket(to, code, reason);
  });
}

/** Stops relaying from `socket` and closes it. Resumes it too: a paused socket does not receive the close frame. */
function closeSocket(socket: WebSocket, code?: number, reason?: string | Buffer): void {
  socket.removeAllListeners('message');
  socket.close(code, reason);
  socket.resume();
}

function terminateWhenSilent(socket: WebSocket): void {
  let missedPings = 0;
  const markAlive = () => {
    missedPings = 0;
  };
  socket.on('message', markAlive).on('ping', markAlive).on('pong', markAlive);
  const pingTimer = setInterval(() => {
    if (socket.isPaused) return; // a paused socket does not receive pongs
    if (missedPings === maxMissedPings) return socket.terminate();
    missedPings += 1;
    socket.ping();
  }, pingIntervalMs);
  pingTimer.unref();
  socket.once('close', () => clearInterval(pingTimer));
}
