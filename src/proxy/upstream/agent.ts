import type { Socket } from 'node:net';
import { Agent, buildConnector } from 'undici';

const connectTimeoutMs = 5_000;
/** The maximum size of the headers of one response; twice the default of Node.js. */
const maxHeaderBytes = 32_768;
/** How long after a failed write a response is still read. */
const lateResponseMs = 500;

/** The connections to the APIs, at most `maxConnections` for each host; 0 means no limit. */
export function createUpstreamAgent(maxConnections = 0): Agent {
  const connect = buildConnector({ timeout: connectTimeoutMs });
  return new Agent({
    connections: maxConnections || null,
    maxHeaderSize: maxHeaderBytes,
    connect(options, callback) {
      connect(options, (...result) => {
        if (result[1]) readBeforeFailing(result[1]);
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

type WriteCallback = (error?: Error | null) => void;

const lostConnectionCodes = new Set(['EPIPE', 'ECONNRESET', 'UND_ERR_SOCKET']);

function isConnectionLost(error: Error): boolean {
  return 'code' in error && lostConnectionCodes.has(String(error.code));
}
