import type { Socket } from 'node:net';
import { Agent, buildConnector } from 'undici';
import { lookupLocalhost } from './localhost.ts';
import { ignoreUnaskedContinue } from './unasked-continue.ts';

const connectTimeoutMs = 5_000;
/** The maximum size of the headers of one response; twice the default of Node.js. */
const maxHeaderBytes = 32_768;
/** Even if the API announces that it waits longer: firewalls drop idle connections without a message to either side. */
const maxIdleMs = 4_000;
/**
 * How many requests a connection serves: the address of a host is looked up only for a new connection, and under constant
 * load none becomes idle. With `maxIdleMs`, each ends after about an hour at most.
 */
const maxRequestsPerConnection = 1_000;
/** How long after a failed write a response is still read. */
const lateResponseMs = 500;

/** The connections to the APIs, at most `maxConnections` for each host; 0 means no limit. */
export function createUpstreamAgent(maxConnections = 0): Agent {
  const connect = buildConnector({ timeout: connectTimeoutMs, lookup: lookupLocalhost });
  return new Agent({
    connections: maxConnections || null,
    maxHeaderSize: maxHeaderBytes,
    keepAliveTimeout: maxIdleMs,
    keepAliveMaxTimeout: maxIdleMs,
    maxRequestsPerClient: maxRequestsPerConnection,
    connect(options, callback) {
      connect(options, (...result) => {
        if (result[1]) {
          ignoreUnaskedContinue(result[1]);
          endAfterReading(result[1]);
          readBeforeFailing(result[1]);
        }
        callback(...result);
      });
    },
  });
}

/**
 * Delays the error of a failed write until all data that the API sent before it closed the connection has been read: it
 * may be an early response, such as 413, that explains the failure. Without such data, the error of the write is
 * reported.
 */
function readBeforeFailing(socket: Socket): void {
  const { _write, _writev, destroy } = socket;
  let writeError: Error | undefined;
  let bytesReadBefore = 0;
  let pending: WriteCallback = () => {}; // a stream has one write in progress at a time
  function onWritten(error?: Error | null): void {
    const done = pending;
    if (!error || !isConnectionLost(error)) {
      done(error);
      return;
    }
    writeError = error;
    bytesReadBefore = socket.bytesRead;
    const timer = setTimeout(() => done(error), lateResponseMs);
    socket.once('close', () => clearTimeout(timer));
  }
  socket._write = function writeOne(chunk, encoding, done) {
    pending = done;
    _write.call(socket, chunk, encoding, onWritten);
  };
  if (_writev)
    socket._writev = function writeSeveral(chunks, done) {
      pending = done;
      _writev.call(socket, chunks, onWritten);
    };
  socket.destroy = (error) => {
    const isUnanswered = error && isConnectionLost(error) && socket.bytesRead === bytesReadBefore;
    return destroy.call(socket, isUnanswered ? (writeError ?? error) : error);
  };
}

/**
 * Delays the end of the connection until undici has read everything before it. undici asserts that nobody makes it wait
 * when a connection ends after `Connection: close`; with a client that reads slowly, the failed assertion would end the
 * process. A reset cannot be delayed, because nothing can be read after it, so undici must not take it for an end.
 */
function endAfterReading(socket: Socket): void {
  const { push, read, unshift, destroy } = socket;
  let hasEnded = false;
  let isWaiting = false; // undici returns what it cannot pass on, even if it is nothing, and reads again when it can

  function endIfRead(): void {
    if (!hasEnded || isWaiting || socket.readableLength > 0) return;
    hasEnded = false;
    push.call(socket, null);
    read.call(socket, 0);
  }

  socket.push = (chunk, encoding) => {
    if (chunk !== null) return push.call(socket, chunk, encoding);
    hasEnded = true;
    endIfRead();
    return false;
  };
  socket.unshift = (chunk, encoding) => {
    isWaiting = true;
    unshift.call(socket, chunk, encoding);
  };
  socket.read = (size) => {
    if (size !== undefined) return read.call(socket, size); // Node.js itself
    isWaiting = false;
    const chunk: unknown = read.call(socket);
    if (chunk === null && hasEnded) queueMicrotask(endIfRead); // later, because undici returns what the client cannot take yet
    return chunk;
  };
  socket.destroy = (error) =>
    destroy.call(socket, error && isWaiting && isConnectionLost(error) ? createResetError(error) : error);
}

/** undici takes `ECONNRESET` for the end of a response. */
function createResetError(cause: Error): Error {
  return Object.assign(new Error('the API closed the connection', { cause }), { code: 'UND_ERR_SOCKET' });
}

type WriteCallback = (error?: Error | null) => void;

const lostConnectionCodes = new Set(['EPIPE', 'ECONNRESET', 'UND_ERR_SOCKET']);

function isConnectionLost(error: Error): boolean {
  return 'code' in error && lostConnectionCodes.has(String(error.code));
}
