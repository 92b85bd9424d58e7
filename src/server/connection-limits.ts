import type { RequestListener, Server } from 'node:http';
import type { Socket } from 'node:net';
import { ipKeyGenerator } from 'express-rate-limit';
import type { Logger } from '../logger.ts';
import { createMetrics, type Metrics } from '../metrics/metrics.ts';
import { createRefusalLog } from '../middleware/refusal-log.ts';
import { onResponseClosed } from '../response-closed.ts';

/** 0 means no limit. */
export interface ConnectionLimits {
  readonly total: number;
  /** Connections of one address (IPv6: one /56 network), unless it is a trusted proxy, which connects for many clients. */
  readonly perAddress: number;
}

interface ConnectionLimitParts {
  readonly limits: ConnectionLimits;
  readonly isTrustedProxy: (address: string) => boolean;
  readonly log: Logger;
  readonly metrics?: Pick<Metrics, 'limitRejections'>;
}

/** Requests without a complete response on one connection. Browsers and proxies have one, and wait for its response. */
const maxPipelined = 10;
const refusedMessage = 'connections refused: the limit in this setting is reached';

/** Closes new connections over the limits, without a response: they have not sent a request yet. */
export function limitConnections(
  server: Server,
  { limits, isTrustedProxy, log, metrics = createMetrics() }: ConnectionLimitParts,
): void {
  // By default, Node.js ignores all headers after the first thousand: a body without its Content-Length would be lost, and the
  // X-Forwarded-For of a proxy that adds it at the end. Their size is limited.
  server.maxHeadersCount = 0;
  const createLog = (setting: string) =>
    createRefusalLog(log, { setting }, refusedMessage, metrics.limitRejections({ limit: setting }));
  if (limits.total > 0) {
    server.maxConnections = limits.total;
    const logRefusal = createLog('MAX_CONNECTIONS');
    server.on('drop', logRefusal);
  }
  if (limits.perAddress > 0)
    limitPerAddress(server, limits.perAddress, isTrustedProxy, createLog('MAX_CONNECTIONS_PER_ADDRESS'));
}

function limitPerAddress(
  server: Server,
  max: number,
  isTrustedProxy: (address: string) => boolean,
  logRefusal: () => void,
): void {
  const open = new Map<string, number>();
  const known = new WeakSet<Socket>(); // the server emits `connection` again after an ignored `Upgrade`

  server.on('connection', (socket: Socket) => {
    const { remoteAddress } = socket;
    if (remoteAddress === undefined || known.has(socket) || isTrustedProxy(remoteAddress)) return;
    known.add(socket);
    const key = ipKeyGenerator(remoteAddress);
    const count = open.get(key) ?? 0;
    if (count >= max) {
      logRefusal();
      socket.destroy();
      return;
    }
    open.set(key, count + 1);
    socket.once('close', () => {
      const left = (open.get(key) ?? 1) - 1;
      if (left === 0) open.delete(key);
      else open.set(key, left);
    });
  });
}

/**
 * Passes on the requests of one connection one after another, as their responses are sent. Node passes on all requests of
 * a packet at once, more than a thousand, and a response that waits for an earlier one gets no event when the connection
 * closes, so what its request occupies would never be released. A connection with too many of them is closed.
 */
export function limitPipelining(handler: RequestListener): RequestListener {
  const pending = new WeakMap<Socket, number>();

  return function limitedPipelining(req, res) {
    const { socket } = req;
    const count = (pending.get(socket) ?? 0) + 1;
    pending.set(socket, count);
    onResponseClosed(res, () => pending.set(socket, (pending.get(socket) ?? 1) - 1));
    if (count > maxPipelined) socket.destroy();
    else if (res.socket) handler(req, res);
    else res.once('socket', () => handler(req, res)); // its turn: the response before it has been sent
  };
}
