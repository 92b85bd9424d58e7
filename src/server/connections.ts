import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import { type Socket, Server as TcpServer } from 'node:net';
import { onResponseClosed } from '../response-closed.ts';
import { elapsedMs } from '../time/elapsed.ts';

/** How long a connection without a complete request stays open after the port is closed: its request may be on its way. */
const requestArrivalMs = 1_000;
const sweepIntervalMs = 50;
/** How long no request should have arrived when the port is closed; less as the time for holding requests ends. */
const silenceMs = 50;
const maxHoldMs = 1_500;
/** An iteration in which nothing happens takes less. */
const shortIterationMs = 0.1;

interface Connection {
  /** Those in progress. Not a Set: its discarded tables would keep responses in memory long after their end. */
  readonly responses: ServerResponse[];
  /** `socket.bytesRead` when the last request had been received and answered. */
  bytesAtRest: number;
  isUpgraded: boolean;
}

/** The connections of a server, and how they end when the process stops. */
export interface Connections {
  /** `handler`, but requests that arrive while the port is being closed wait until it is. */
  holdRequests(handler: RequestListener): RequestListener;
  /** From now on, every response says `Connection: close`; new connections and requests are still accepted. */
  announceClose(): void;
  /** Closes the port and the idle connections. */
  stopAccepting(): Promise<void>;
  /**
   * Settles when all connections are closed, each after the request in progress; after `timeoutMs` the others are
   * closed too.
   * @param arrivalMs how long connections without a complete request stay open; default one second
   * @returns the number of requests and WebSockets that were cut off
   */
  waitUntilClosed(timeoutMs: number, arrivalMs?: number): Promise<number>;
}

/** Call this before the server listens. */
export function trackConnections(server: Server): Connections {
  const connections = new Map<Socket, Connection>();
  let isClosing = false;
  let events = 0;
  let closed: Promise<void> | undefined;
  /** Requests that wait until the port is closed. */
  let held: (() => void)[] | undefined;

  function find(socket: Socket): Connection {
    const known = connections.get(socket);
    if (known) return known;
    const connection: Connection = { responses: [], bytesAtRest: 0, isUpgraded: false };
    connections.set(socket, connection);
    socket.once('close', () => connections.delete(socket));
    return connection;
  }

  server.prependListener('connection', (socket: Socket) => {
    events += 1;
    find(socket).isUpgraded = false; // an upgrade that was ignored arrives as a connection again
  });
  // Before the app, which may respond at once.
  server.prependListener('request', ({ socket }: IncomingMessage, res: ServerResponse) => {
    events += 1;
    const connection = find(socket);
    connection.responses.push(res);
    if (isClosing) res.shouldKeepAlive = false;
    onResponseClosed(res, () => {
      connection.responses.splice(connection.responses.indexOf(res), 1);
      connection.bytesAtRest = socket.bytesRead;
    });
  });
  server.prependListener('upgrade', ({ socket }: IncomingMessage) => {
    events += 1;
    find(socket).isUpgraded = true;
  });

  /**
   * Settles after a short iteration of the event loop in which neither a connection nor a request arrived, so that the
   * next statement does not reset one that waits in a queue of this machine. Under load there is such an iteration only
   * because requests are held meanwhile; then clients that wait for a response soon send no others.
   */
  async function waitForSilence(): Promise<void> {
    const startedAt = elapsedMs();
    let [now, silentSince] = [startedAt, startedAt];
    for (;;) {
      const [iterationAt, eventsBefore] = [now, events];
      await new Promise((resolve) => setImmediate(resolve));
      now = elapsedMs();
      if (events !== eventsBefore) silentSince = now;
      const waitedMs = now - startedAt;
      if (waitedMs > maxHoldMs) return;
      const requiredMs = silenceMs * (1 - waitedMs / maxHoldMs);
      if (now - silentSince >= requiredMs && now - iterationAt < shortIterationMs) return;
    }
  }

  /** Closes connections without a request; those on which one may be arriving only with `includesArriving`. */
  function closeIdle(includesArriving: boolean): void {
    for (const [socket, { responses, bytesAtRest, isUpgraded }] of connections) {
      if (responses.length > 0 || isUpgraded) continue;
      const isArriving = socket.bytesRead === 0 || socket.bytesRead > bytesAtRest;
      if (includesArriving || !isArriving) socket.destroy();
    }
  }

  return {
    holdRequests: (handler) => (req, res) => {
      if (held) held.push(() => handler(req, res));
      else handler(req, res);
    },

    announceClose() {
      isClosing = true;
      for (const { responses } of connections.values())
        for (const res of responses) if (!res.headersSent) res.shouldKeepAlive = false;
    },

    async stopAccepting() {
      held = [];
      await waitForSilence();
      // The `close` of `http.Server` would first spend time on closing idle connections.
      closed = new Promise((resolve) => TcpServer.prototype.close.call(server, () => resolve()));
      closeIdle(false);
      const waiting = held;
      held = undefined;
      for (const handle of waiting) handle();
    },

    async waitUntilClosed(timeoutMs, arrivalMs = requestArrivalMs) {
      const startedAt = elapsedMs();
      const sweep = setInterval(() => closeIdle(elapsedMs() - startedAt > arrivalMs), sweepIntervalMs);
      let cutOff = 0;
      const timeout = setTimeout(() => {
        for (const [socket, { responses, isUpgraded }] of connections) {
          cutOff += responses.length + Number(isUpgraded);
          socket.destroy();
        }
      }, timeoutMs);
      await closed;
      clearInterval(sweep);
      clearTimeout(timeout);
      return cutOff;
    },
  };
}
