import type { Server } from 'node:http';

/** For `createServer`. How long each part of a request may take, and how often Node looks for those that are late. */
export const serverTimes = {
  /** Longer than load balancers usually keep idle connections, so that they never send a request into a closing one. */
  keepAliveTimeout: 65_000,
  /** It also counts on a new connection that is silent: load balancers open them in advance, and keep them for 60 s. */
  headersTimeout: 70_000,
  /** As long as the longest upload. Every other body has a shorter limit where it is read. */
  requestTimeout: 3_600_000,
  connectionsCheckingInterval: 5_000,
} as const;

/**
 * How long a client may go on sending the body of a request that has its response already. Long enough for clients that
 * read the response only after sending the whole body.
 */
const defaultUnreadBodyMs = 30_000;

/**
 * Closes connections whose client does not finish a request after the response: nobody reads its body, so that only
 * `requestTimeout` would end it.
 */
export function closeUnfinishedRequests(server: Server, unreadBodyMs = defaultUnreadBodyMs): void {
  server.on('request', (req, res) => {
    res.once('finish', () => {
      if (req.complete) return;
      setTimeout(() => {
        if (!req.complete) req.socket.destroy();
      }, unreadBodyMs).unref();
    });
  });
}

/**
 * Sends `100 Continue` when a handler begins to read the body, and not before the guards: a request that they reject
 * gets its response without one, and then Node closes the connection (RFC 9110 10.1.1). Any other expectation gets 417.
 */
export function continueWhenRead(server: Server): void {
  server.on('checkExpectation', (_req, res) => {
    res.writeHead(417, { Connection: 'close', 'Content-Length': '0' }).end(); // the body is not read
  });
  server.on('checkContinue', (req, res) => {
    req.once('resume', () => {
      if (!res.headersSent) res.writeContinue();
    });
    server.emit('request', req, res);
  });
}
