import { type IncomingMessage, type RequestListener, type Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Request, RequestHandler } from 'express';
import { AppError } from '../../errors.ts';

const replacedHeaders: ReadonlySet<string> = new Set(['upgrade', 'connection']);

/** A WebSocket handshake to which no response has been sent. */
export interface WebSocketHandshake {
  /** False for a handshake over HTTP/1.0, usually because of a proxy that does not use HTTP/1.1 by default (nginx). */
  readonly isPossible: boolean;
  /**
   * The connection, and the bytes received after the handshake. The response object no longer writes to the connection,
   * and emits `close` when the connection closes, so that the request is logged at that time.
   */
  detachSocket(): { readonly socket: Socket; readonly head: Buffer };
}

declare global {
  namespace Express {
    interface Request {
      /** Set for a WebSocket handshake. A handler that does not detach its socket responds as to any other request. */
      webSocketHandshake?: WebSocketHandshake;
    }
  }
}

/** A listener of the event `upgrade` of a server. */
type UpgradeListener = (req: IncomingMessage, duplex: Duplex, head: Buffer) => void;

/**
 * Passes WebSocket handshakes to `handler` as ordinary requests with `webSocketHandshake`, and closes the connection
 * after the response unless a handler detaches it. Every other `Upgrade` header is ignored (RFC 9110 7.8), and the connection
 * closes after the response.
 */
export function listenForUpgrades(server: Server, handler: RequestListener): void {
  server.on('upgrade', createUpgradeListener(server, handler));
}

/** The listener of `listenForUpgrades`, for the upgrades that the caller selects. */
export function createUpgradeListener(server: Server, handler: RequestListener): UpgradeListener {
  return function handleUpgrade(req, _duplex, head) {
    const { socket } = req;
    const res = new ServerResponse(req);
    try {
      res.assignSocket(socket);
    } catch {
      socket.destroy(); // pipelined after a request that is still in progress; no WebSocket client does this
      return;
    }
    if (isWebSocketHandshake(req)) {
      Object.assign(req, { webSocketHandshake: createHandshake(req, res, head) });
      handler(req, res);
    } else {
      res.detachSocket(socket);
      ignoreUpgrade(server, req, head);
    }
  };
}

/** Makes the server read the request again, without its `Upgrade`. */
export function ignoreUpgrade(server: Server, req: IncomingMessage, head: Buffer): void {
  req.socket.unshift(Buffer.concat([serializeWithoutUpgrade(req), head]));
  server.emit('connection', req.socket);
}

/**
 * Rejects WebSocket handshakes that no handler before it accepted.
 * @throws AppError `not_found`
 */
export const rejectWebSocket: RequestHandler = function rejectWebSocket(req, _res, next) {
  if (req.webSocketHandshake) throw new AppError('not_found');
  next();
};

function isWebSocketHandshake({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' && headers.upgrade?.toLowerCase() === 'websocket';
}

/**
 * Rejects a WebSocket handshake that cannot be performed, because a proxy sent it over HTTP/1.0 or removed `Upgrade` or
 * `Connection`. Forwarded as a plain GET request, it would get a response that explains nothing.
 * @throws AppError `upgrade_required`
 */
export function rejectImpossibleHandshake({ method, headers, webSocketHandshake }: Request): void {
  const isHandshake =
    method === 'GET' &&
    (headers['sec-websocket-key'] !== undefined || /^websocket$/i.test(headers.upgrade ?? ''));
  if (webSocketHandshake ? webSocketHandshake.isPossible : !isHandshake) return;
  throw new AppError('upgrade_required', {
    cause: new Error(
      'a WebSocket handshake needs HTTP/1.1 and the headers Upgrade and Connection, which a proxy may have removed',
    ),
  });
}

/** Manages the connection of `res` in place of the server, which stops doing so when it emits `upgrade`. */
function createHandshake(
  { socket, httpVersion }: IncomingMessage,
  res: ServerResponse,
  head: Buffer,
): WebSocketHandshake {
  const emitDrain = () => res.emit('drain');
  const destroySocket = () => socket.destroy();
  const closeAfterResponse = () => {
    res.detachSocket(socket);
    socket.destroySoon();
    queueMicrotask(() => res.emit('close')); // as after every other response; limits depend on it
  };
  socket.on('drain', emitDrain).on('error', destroySocket).on('end', destroySocket);
  res.shouldKeepAlive = false;
  res.on('finish', closeAfterResponse);
  return {
    isPossible: httpVersion === '1.1',
    detachSocket() {
      socket.off('drain', emitDrain).off('end', destroySocket);
      res.off('finish', closeAfterResponse);
      res.detachSocket(socket);
      socket.once('close', () => res.end().emit('close'));
      return { socket, head };
    },
  };
}

/**
 * The request head as it was received, for the HTTP parser to read again, but without `Upgrade`. The connection closes after
 * the response, because Node keeps listeners on the socket of each ignored `Upgrade`.
 */
function serializeWithoutUpgrade({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  const lines = [`${method} ${url} HTTP/${httpVersion}`, 'Connection: close'];
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (!replacedHeaders.has(rawHeaders[i]?.toLowerCase() ?? ''))
      lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}
