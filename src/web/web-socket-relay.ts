import type { WebSocket } from 'ws';
import type { StreamEnd } from './session-streams.ts';

/** Whoever sends more than the other side takes has to wait. */
const mostWaitingBytes = 1024 * 1024;
const beatMs = 30_000;
/** A side that said nothing for so many beats, pings among them, is gone. */
const mostSilentBeats = 2;
const longestGoodbyeMs = 500;

/** What the other side is told of one that went without a word (RFC 6455 7.4.1). */
const clientWentAway = 1001;
const upstreamFailed = 1011;
const goodbyes = {
  session_ended: { code: 1008, reason: 'session_ended' },
  shutdown: { code: 1001, reason: 'shutdown' },
} as const satisfies Record<StreamEnd, { readonly code: number; readonly reason: string }>;

/**
 * What either side says reaches the other as it was said, in order and no faster than it is taken, until one of them
 * leaves; the other then hears the same closing code.
 * @returns ends both: with 1008 `session_ended` when that is why
 */
export function joinWebSockets(client: WebSocket, upstream: WebSocket): (why: StreamEnd) => void {
  passOn(client, upstream);
  passOn(upstream, client);
  passEndOn(client, upstream, clientWentAway);
  passEndOn(upstream, client, upstreamFailed);
  noticeSilence(client);
  noticeSilence(upstream);
  return function end(why) {
    const { code, reason } = goodbyes[why];
    for (const each of [client, upstream]) {
      close(each, code, reason);
      setTimeout(() => each.terminate(), longestGoodbyeMs).unref();
    }
  };
}

function passOn(from: WebSocket, to: WebSocket): void {
  function goOn(): void {
    if (from.isPaused && to.bufferedAmount < mostWaitingBytes / 2) from.resume();
  }
  from.on('message', (message, isBinary) => {
    to.send(message, { binary: isBinary }, goOn);
    if (to.bufferedAmount > mostWaitingBytes) from.pause();
  });
}

function passEndOn(from: WebSocket, to: WebSocket, whenLost: number): void {
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

function noticeSilence(socket: WebSocket): void {
  let silentBeats = 0;
  const isThere = () => {
    silentBeats = 0;
  };
  socket.on('message', isThere).on('ping', isThere).on('pong', isThere);
  const beat = setInterval(() => {
    if (socket.isPaused) return; // whoever has to wait is not heard
    if (silentBeats === mostSilentBeats) return socket.terminate();
    silentBeats += 1;
    socket.ping();
  }, beatMs);
  beat.unref();
  socket.once('close', () => clearInterval(beat));
}
