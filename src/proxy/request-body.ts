import { Transform } from 'node:stream';
import type { Request } from 'express';
import { AppError } from '../errors.ts';
import { isFormSubmission } from '../middleware/fetch-metadata.ts';
import { hasBody } from '../middleware/unread-bodies.ts';
import { maxFormBytes } from '../saved-forms/save-form.ts';
import { elapsedMs } from '../time/elapsed.ts';

/** Bodies up to this size are buffered, so that they can be sent again; for forms the limit is `maxFormBytes`. */
const maxBufferedBytes = 65_536;
/** After its first `timeoutMs`, a body must have arrived at this average rate: no client can send one for hours. */
const minBytesPerSecond = 1_024;

interface BodyOptions {
  /** The maximum size of the body. */
  readonly limitBytes: number;
  /** How long the client may send nothing, and how long the API may accept nothing. */
  readonly timeoutMs: number;
  /** Aborts the upstream request with this error. */
  readonly abort: (reason: AppError) => void;
}

/** A body that is streamed as fast as the API accepts it. */
export interface Upload {
  readonly stream: Transform;
  /** Stops the timers: once the API responds, an idle upload is no longer an error. */
  markResponseStarted(): void;
}

/**
 * The body to send to the API: `null` without one, a buffer for a small body of known length, otherwise a stream.
 * @throws AppError `payload_too_large`, `request_timeout`, `invalid_request` (the client disconnected, or the method
 * cannot have a body)
 */
export async function readRequestBody(req: Request, options: BodyOptions): Promise<null | Buffer | Upload> {
  const { 'content-length': contentLength, 'transfer-encoding': coding } = req.headers;
  const length = Number(contentLength ?? 0);
  if (!hasBody(req)) return contentLength !== undefined && canHaveBody(req.method) ? Buffer.alloc(0) : null;
  // Forwarded without its body, the request could mean something else, such as a search without its conditions.
  if (!canHaveBody(req.method))
    throw new AppError('invalid_request', { cause: new Error('a GET or HEAD request with a body') });
  if (length > options.limitBytes) throw new AppError('payload_too_large');
  if (req.bufferedBody) return req.bufferedBody;
  if (coding !== undefined || length > (isFormSubmission(req) ? maxFormBytes : maxBufferedBytes))
    return createUpload(req, options);
  req.bufferedBody = await bufferBody(req, length, options.timeoutMs);
  return req.bufferedBody;
}

/** False for methods whose body has no meaning (RFC 9110 9.3.1). */
export function canHaveBody(method: string): boolean {
  return method !== 'GET' && method !== 'HEAD';
}

/** Reads into one buffer, because pieces of a few bytes, kept as they arrive, take a hundred times their size. */
function bufferBody(req: Request, length: number, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const body = Buffer.allocUnsafe(length);
    let bytes = 0;
    const pace = watchPace(timeoutMs, () => {
      req.off('data', read);
      reject(new AppError('request_timeout'));
    });
    function read(chunk: Buffer): void {
      bytes += chunk.copy(body, bytes);
      pace.add(chunk.length);
    }
    req.on('data', read);
    req.on('end', () => resolve(body.subarray(0, bytes)));
    req.on('close', () => {
      pace.stop();
      reject(new AppError('invalid_request')); // disconnected before the end; no effect after it
    });
  });
}

function createUpload(req: Request, { limitBytes, timeoutMs, abort }: BodyOptions): Upload {
  let bytes = 0;
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      done(bytes > limitBytes ? new AppError('payload_too_large') : null, chunk);
      pace.add(chunk.length);
    },
  });
  const pace = watchPace(timeoutMs, () => {
    // If the API has accepted all data and the body is incomplete, the client is slow (408), otherwise the API (504).
    const isDrained = stream.readableLength === 0;
    abort(new AppError(isDrained && !stream.writableEnded ? 'request_timeout' : 'upstream_timeout'));
  });
  // Closed before the end: the API responded early or disconnected. Some clients read the response only after they have
  // sent the whole body, and the response may be a long one.
  stream.once('close', () => {
    if (req.complete) return;
    pace.stop();
    discardUpTo(req, limitBytes - bytes);
  });
  stream.on('error', () => undefined); // undici handles it, but never gets the stream while the circuit breaker is open
  return { stream: req.pipe(stream), markResponseStarted: pace.stop };
}

/** Reads and discards the body until the response has been sent (then see `discardUnreadBodies`), or `maxBytes`. */
function discardUpTo(req: Request, maxBytes: number): void {
  let bytes = 0;
  req.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > maxBytes && !req.res?.writableFinished) req.pause();
  });
  req.unpipe().resume();
}

/** Calls `onTooSlow` once, when nothing was added for `timeoutMs` or the average is below `minBytesPerSecond`. */
function watchPace(timeoutMs: number, onTooSlow: () => void) {
  const startedAt = elapsedMs();
  let bytes = 0;
  let isStopped = false;
  const timer = setTimeout(fail, timeoutMs).unref();
  function stop(): void {
    clearTimeout(timer);
    isStopped = true;
  }
  function fail(): void {
    if (isStopped) return;
    stop();
    onTooSlow();
  }
  function add(added: number): void {
    if (isStopped) return;
    bytes += added;
    timer.refresh();
    if (elapsedMs() - startedAt > timeoutMs + (bytes / minBytesPerSecond) * 1000) fail();
  }
  return { add, stop };
}
