import type { Socket } from 'node:net';
import type { Request, RequestHandler } from 'express';
import { elapsedMs } from '../time/elapsed.ts';

/** How much of a body, and for how long, is read after the response; then the connection is closed. */
const maxUnreadBytes = 16 * 1024 * 1024;
const maxUnreadMs = 10_000;
const checkIntervalMs = 50;

/** Connections whose last response has been sent; whatever request follows is not processed (RFC 9112 9.6). */
const closing = new WeakSet<Socket>();

/**
 * Keeps connections usable whose response is sent before the body of the request has been read: the rest is read and
 * discarded, within limits. A body that is known to be too long for that gets a response with `Connection: close`.
 * Mount it before every handler, because any of them may respond without reading the body.
 */
export const discardUnreadBodies: RequestHandler = function discardUnreadBodies(req, res, next) {
  if (closing.has(req.socket)) return;
  if (!hasBody(req)) return next();
  const isTooLong = Number(req.headers['content-length'] ?? 0) > maxUnreadBytes;
  const { writeHead } = res;
  Object.assign(res, {
    writeHead(...args: readonly unknown[]) {
      if (isTooLong && !req.complete) res.shouldKeepAlive = false;
      return Reflect.apply(writeHead, res, args);
    },
  });
  // Before the listener of Node.js, which closes the connection without reading if the response says `Connection: close`.
  res.prependOnceListener('finish', () => {
    if (!req.complete) discardRest(req);
  });
  next();
};

/** True if the request has a body (RFC 9112 6.3), even if all of it has been read. */
export function hasBody({ headers }: Pick<Request, 'headers'>): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

function discardRest(req: Request): void {
  const { socket } = req;
  const { bytesRead } = socket;
  const endsAt = elapsedMs() + maxUnreadMs;
  // Polled, because there are no events for a body that Node.js discards itself.
  const timer = setInterval(() => {
    if (elapsedMs() > endsAt || socket.bytesRead - bytesRead > maxUnreadBytes) socket.destroy();
  }, checkIntervalMs);
  // Closing a connection with unread data resets it, and the client may lose the response that it has not read yet.
  socket.destroySoon = () => {
    closing.add(socket);
    socket.end();
  };
  function finish(): void {
    clearInterval(timer);
    socket.off('close', finish);
    req.off('end', finish);
    Reflect.deleteProperty(socket, 'destroySoon');
    if (closing.has(socket)) socket.destroy();
  }
  socket.once('close', finish);
  req.once('end', finish);
  req.unpipe().resume();
}
