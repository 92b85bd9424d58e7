import type { WebSocket } from 'ws';
import type { CloseReason } from './open-streams.ts';

/** Whoever sends more than the other side takes has to wait. */
const maxBufferedBytes = 1024 * 1024;
const pingIntervalMs = 30_000;
/** A side that said nothing for so many beats, pings among them, is gone. */
const maxMissedPings = 2;
const closeTimeoutMs = 500;

/** What the other side is told of one that went without a word (RFC 6455 7.4.1). */
const clientLostCode = 1001;
const upstreamLostCode = 1011;
const closeFrames = {
  session_ended: { code: 1008, reason: 'session_ended' },
  shutdown: { code: 1001, reason: 'shutdown' },
} as const satisfies Record<CloseReason, { readonly code: number; readonly reason: string }>;

/**
 * What either side says reaches the other as it was said, in order and no faster than it is taken, until one of them
 * leaves; the other then hears the same closing code.
 * @returns ends both: with 1008 `session_ended` when that is closeReason
 */
export function joinWebSockets(client: WebSocket, upstream: WebSocket): (closeReason: CloseReason) => void {
  relayMessages(client, upstream);
  relayMessages(upstream, client);
  propagateClose(client, upstream, clientLostCode);
  propagateClose(upstream, client, upstreamLostCode);
  terminateWhenSilent(client);
  terminateWhenSilent(upstream);
  return function end(closeReason) {
    const { code, reason } = closeFrames[closeReason];
    for (const each of [client, upstream]) {
      close(each, code, reason);
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

function propagateClose(from: WebSocket, to: WebSocket, whenLost: number): void {
  from.on('error', () => close(to, whenLost));
  from.on('close', (code, reason) => {
    if (code === 1005) close(to);
    else if (code === 1006) close(to, whenLost);
    else close(to, code, reason);
  });
}

/** Nothing more is passed on from here; and as a side that has to wait would not hear the answer, it is read again. */
function close(socket: WebSocket, code?: number, reason?: string | Buffer): void {
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
    if (socket.isPaused) return; // whoever has to wait is not heard
    if (missedPings === maxMissedPings) return socket.terminate();
    missedPings += 1;
    socket.ping();
  }, pingIntervalMs);
  pingTimer.unref();
  socket.once('close', () => clearInterval(pingTimer));
}
