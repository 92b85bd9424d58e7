import { type IncomingMessage, type RequestListener, type Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { RequestHandler } from 'express';
import { AppError } from '../errors.ts';

/** The handshake of a WebSocket, until somebody answers it. */
export interface WebSocketHandshake {
  /**
   * The connection and what came behind the handshake. From now on the response writes nothing to it; the response says
   * `close` when the connection is closed, so that the request log tells of it then.
   */
  detachSocket(): { readonly socket: Socket; readonly head: Buffer };
}

declare global {
  namespace Express {
    interface Request {
      /** Set when this request asks for a WebSocket. Whoever does not take it answers like any other. */
      webSocketHandshake?: WebSocketHandshake;
    }
  }
}

/**
 * WebSocket handshakes reach `handler` as requests like any other, with `webSocketHandshake`, and their connection ends
 * with the answer unless it is taken. Every other wish for an upgrade is ignored (RFC 9110 7.8).
 */
export function listenForUpgrades(server: Server, handler: RequestListener): void {
  server.on('upgrade', (req: IncomingMessage, _duplex, head: Buffer) => {
    const { socket } = req;
    const res = new ServerResponse(req);
    try {
      res.assignSocket(socket);
    } catch {
      socket.destroy(); // sent behind a request whose answer is not out yet, which no client of WebSockets does
      return;
    }
    if (isWebSocket(req)) {
      Object.assign(req, { webSocketHandshake: createHandshake(socket, res, head) });
      handler(req, res);
    } else {
      res.detachSocket(socket);
      socket.unshift(Buffer.concat([headWithoutUpgrade(req), head]));
      server.emit('connection', socket);
    }
  });
}

/**
 * Stands before what answers no WebSocket.
 * @throws AppError `not_found`
 */
export const rejectWebSocket: RequestHandler = function rejectWebSocket(req, _res, next) {
  if (req.webSocketHandshake) throw new AppError('not_found');
  next();
};

function isWebSocket({ method, httpVersion, headers }: IncomingMessage): boolean {
  return method === 'GET' && httpVersion === '1.1' && headers.upgrade?.toLowerCase() === 'websocket';
}

/** Does for `res` what a server does for its own, which has let go of this connection. */
function createHandshake(socket: Socket, res: ServerResponse, head: Buffer): WebSocketHandshake {
  const emitDrain = () => res.emit('drain');
  const destroySocket = () => socket.destroy();
  const closeAfterResponse = () => {
    res.detachSocket(socket);
    socket.destroySoon();
  };
  socket.on('drain', emitDrain).on('error', destroySocket).on('end', destroySocket);
  res.shouldKeepAlive = false;
  res.on('finish', closeAfterResponse);
  return {
    detachSocket() {
      socket.off('drain', emitDrain).off('end', destroySocket);
      res.off('finish', closeAfterResponse);
      res.detachSocket(socket);
      socket.once('close', () => res.end().emit('close'));
      return { socket, head };
    },
  };
}

/** The request as it came, for a server that has not seen it. */
function headWithoutUpgrade({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  const lines = [`${method} ${url} HTTP/${httpVersion}`];
  for (let at = 0; at < rawHeaders.length; at += 2)
    if (rawHeaders[at]?.toLowerCase() !== 'upgrade') lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`);
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}
