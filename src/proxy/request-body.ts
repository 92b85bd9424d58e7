import { Transform } from 'node:stream';
import type { Request } from 'express';
import { AppError } from '../errors.ts';
import { isFormSubmission } from '../middleware/fetch-metadata.ts';
import { isSafe } from '../middleware/http-methods.ts';
import { maxFormBytes } from '../saved-forms/save-form.ts';

/** Bodies up to this size are buffered, so that they can be sent again; for forms the limit is `maxFormBytes`. */
const maxBufferedBytes = 65_536;

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
  /** Stops the idle timer: once the API responds, an idle upload is no longer an error. */
  markResponseStarted(): void;
}

/**
 * The body to send to the API: `null` without one, a buffer for a small body of known length, otherwise a stream.
 * @throws AppError `payload_too_large`, `request_timeout`, `invalid_request` (the client disconnected)
 */
export async function readRequestBody(req: Request, options: BodyOptions): Promise<null | Buffer | Upload> {
  const isChunked = req.headers['transfer-encoding'] !== undefined;
  const length = Number(req.headers['content-length'] ?? 0);
  if (isSafe(req.method) || (!isChunked && length === 0)) return null;
  if (length > options.limitBytes) throw new AppError('payload_too_large');
  if (req.bufferedBody) return req.bufferedBody;
  if (isChunked || length > (isFormSubmission(req) ? maxFormBytes : maxBufferedBytes))
    return createUpload(req, options);
  req.bufferedBody = await bufferBody(req, options.timeoutMs);
  return req.bufferedBody;
}

function bufferBody(req: Request, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const timer = setTimeout(() => reject(new AppError('request_timeout')), timeoutMs);
    req.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      timer.refresh();
    });
    req.on('end', () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)));
    req.on('close', () => {
      clearTimeout(timer);
      reject(new AppError('invalid_request')); // disconnected before the end; no effect after it
    });
  });
}

function createUpload(req: Request, { limitBytes, timeoutMs, abort }: BodyOptions): Upload {
  let bytes = 0;
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      idleTimer.refresh();
      done(bytes > limitBytes ? new AppError('payload_too_large') : null, chunk);
    },
  });
  const idleTimer = setTimeout(() => {
    // If the API has accepted all data and the body is incomplete, the client stalled (408), otherwise the API (504).
    const isDrained = stream.writableLength + stream.readableLength === 0;
    abort(new AppError(isDrained && !stream.writableEnded ? 'request_timeout' : 'upstream_timeout'));
  }, timeoutMs).unref();
  stream.on('error', () => undefined); // undici handles it, but never gets the stream while the circuit breaker is open
  return { stream: req.pipe(stream), markResponseStarted: () => clearTimeout(idleTimer) };
}
