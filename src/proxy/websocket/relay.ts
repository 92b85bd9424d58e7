import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import type { CloseReason, CloseStream } from '../open-streams.ts';
import {
  createFrameReader,
  encodeCloseReason,
  encodeControlFrame,
  type FrameReader,
  opcodes,
} from './frames.ts';

const pingIntervalMs = 30_000;
/** Latchkey disconnects a peer that has sent nothing, not even a pong, or has read nothing, for this many intervals. */
const maxIdleIntervals = 2;
/** How long a peer may take to close after the other one has; at the end of the session or the process, less. */
const closeTimeoutMs = 30_000;
const forcedCloseTimeoutMs = 500;
const protocolErrorCode = 1002;

const closeFrames = {
  session_ended: { code: 1008, reason: 'session_ended' },
  shutdown: { code: 1001, reason: 'shutdown' },
} as const satisfies Record<CloseReason, { readonly code: number; readonly reason: string }>;

/** One end of the relay. */
interface Peer {
  readonly socket: Socket;
  readonly isClient: boolean;
  /** The close code for the other peer when this one disappears without a close frame (RFC 6455 7.4.1). */
  readonly codeWhenLost: number;
  /** Reads what this peer sends. */
  reader: FrameReader;
  hasSentClose: boolean;
  hasReceivedClose: boolean;
  /** The payload of our last ping; its pong is not relayed. */
  ping: Buffer | undefined;
  silentIntervals: number;
  stalledIntervals: number;
  sentBytes: number;
}

/**
 * Relays frames in both directions as they arrive, with backpressure: what a peer does not read is not read from the other
 * one, and no message is buffered. When a peer closes, the other receives its close frame; when it disappears, a close
 * frame of ours. A peer in the middle of a frame is disconnected instead, as no frame can be sent to it.
 * @param client a connection on which the WebSocket handshake is complete, and so is `upstream`
 * @returns closes both, with 1008 `session_ended` or 1001 `shutdown`
 */
export function joinWebSockets(client: Socket, upstream: Socket): CloseStream {
  const [browser, api] = [createPeer(client, true), createPeer(upstream, false)];
  relayFrames(browser, api);
  relayFrames(api, browser);
  const timer = setInterval(() => {
    checkPeer(browser, api);
    checkPeer(api, browser);
  }, pingIntervalMs);
  timer.unref();
  client.once('close', () => clearInterval(timer));
  return function closeBoth(closeReason) {
    const { code, reason } = closeFrames[closeReason];
    closePeer(browser, api, encodeCloseReason(code, reason), forcedCloseTimeoutMs);
    closePeer(api, browser, encodeCloseReason(code, reason), forcedCloseTimeoutMs);
  };
}

function createPeer(socket: Socket, isClient: boolean): Peer {
  return {
    socket,
    isClient,
    codeWhenLost: isClient ? 1001 : 1011,
    reader: createFrameReader({ isMasked: isClient, onData() {}, onControl() {} }),
    hasSentClose: false,
    hasReceivedClose: false,
    ping: undefined,
    silentIntervals: 0,
    stalledIntervals: 0,
    sentBytes: 0,
  };
}

function relayFrames(from: Peer, to: Peer): void {
  from.reader = createFrameReader({
    isMasked: from.isClient,
    onData: (bytes) => send(to, bytes),
    onControl(opcode, frame, payload) {
      if (opcode === opcodes.pong && from.ping?.equals(payload)) return;
      if (opcode === opcodes.close) from.hasReceivedClose = true;
      send(to, frame);
      if (opcode !== opcodes.close) return;
      to.hasSentClose = true;
      endIfClosed(from);
      endIfClosed(to);
      destroyLater(to, closeTimeoutMs);
    },
  });
  from.socket.on('data', (chunk: Buffer) => {
    from.silentIntervals = 0;
    if (from.hasReceivedClose) return; // nothing follows a close frame (RFC 6455 5.5.1)
    to.socket.cork();
    try {
      from.reader.read(chunk);
    } catch {
      closePeer(to, from, encodeCloseReason(from.codeWhenLost), closeTimeoutMs);
      closePeer(from, to, encodeCloseReason(protocolErrorCode), forcedCloseTimeoutMs);
      from.hasReceivedClose = true; // what follows cannot be read
    } finally {
      to.socket.uncork();
    }
    if (to.socket.writableNeedDrain) from.socket.pause();
  });
  to.socket.on('drain', () => from.socket.resume());
  const handleLoss = () => {
    if (!from.hasReceivedClose) closePeer(to, from, encodeCloseReason(from.codeWhenLost), closeTimeoutMs);
    from.hasReceivedClose = true;
    from.socket.end();
  };
  from.socket.on('end', handleLoss);
  from.socket.on('error', () => from.socket.destroy());
  from.socket.on('close', () => {
    handleLoss();
    if (to.socket.isPaused()) to.socket.resume(); // nobody reads what it sends, but its close frame must be received
  });
}

function send(to: Peer, bytes: Buffer): void {
  if (!to.hasSentClose && to.socket.writable) to.socket.write(bytes);
}

/** Sends a close frame, and disconnects `peer` after `timeoutMs` if it has not closed by then. */
function closePeer(peer: Peer, other: Peer, payload: Buffer, timeoutMs: number): void {
  if (!peer.hasSentClose) {
    if (!other.reader.isBetweenFrames()) {
      peer.socket.destroy();
      return;
    }
    send(peer, encodeControlFrame(opcodes.close, payload, !peer.isClient));
    peer.hasSentClose = true;
  }
  endIfClosed(peer);
  peer.socket.resume();
  destroyLater(peer, timeoutMs);
}

function endIfClosed({ hasSentClose, hasReceivedClose, socket }: Peer): void {
  if (hasSentClose && hasReceivedClose) socket.end();
}

function destroyLater({ socket }: Peer, timeoutMs: number): void {
  const timer = setTimeout(() => socket.destroy(), timeoutMs);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
}

/** Disconnects a peer that is silent or does not read, else pings it. */
function checkPeer(peer: Peer, other: Peer): void {
  const { socket } = peer;
  const sentBytes = socket.bytesWritten - socket.writableLength;
  peer.stalledIntervals =
    socket.writableLength > 0 && sentBytes === peer.sentBytes ? peer.stalledIntervals + 1 : 0;
  peer.sentBytes = sentBytes;
  if (peer.stalledIntervals > maxIdleIntervals || peer.silentIntervals >= maxIdleIntervals) {
    socket.destroy();
    return;
  }
  if (socket.isPaused()) return; // its pongs are not read
  peer.silentIntervals += 1;
  if (!other.reader.isBetweenFrames()) return;
  peer.ping = randomBytes(4);
  send(peer, encodeControlFrame(opcodes.ping, peer.ping, !peer.isClient));
}
