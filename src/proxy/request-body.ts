import { Transform } from 'node:stream';
import type { Request } from 'express';
import { AppError } from '../errors.ts';
import { isFormSubmission } from '../middleware/fetch-metadata.ts';
import { isSafe } from '../middleware/http-methods.ts';
import { maxFormBytes } from '../saved-forms/save-form.ts';

/** Bodies up to this size are held until the answer is there, so that they can be sent once more; forms may be larger. */
const maxBufferedBytes = 65_536;

interface BodyOptions {
  /** The largest body that is taken. */
  readonly limitBytes: number;
  /** The longest idleTimer of whoever sends it, and of whoever takes it. */
  readonly timeoutMs: number;
  /** Ends the call for the reason that is given. */
  readonly abort: (reason: AppError) => void;
}

/** A body that flows as fast as the API takes it. */
export interface Upload {
  readonly stream: Transform;
  /** The API has begun its answer: the idleTimer of the upload does not matter any more. */
  markResponseStarted(): void;
}

/**
 * The body of a request as an API gets it: none, a small one of known length as a whole, else as a stream.
 * @throws AppError `payload_too_large`, `request_timeout`
 */
export async function readRequestBody(req: Request, options: BodyOptions): Promise<null | Buffer | Upload> {
  const isChunked = req.headers['transfer-encoding'] !== undefined;
  const length = Number(req.headers['content-length'] ?? 0);
  if (isSafe(req.method) || (!isChunked && length === 0)) return null;
  if (length > options.limitBytes) throw new AppError('payload_too_large');
  if (req.bufferedBody) return req.bufferedBody;
  if (isChunked || length > (isFormSubmission(req) ? maxFormBytes : maxBufferedBytes))
    return upload(req, options);
  req.bufferedBody = await readWhole(req, options.timeoutMs);
  return req.bufferedBody;
}

/** Everything that comes of a request whose length is known. */
export function readWhole(req: Request, timeoutMs: number): Promise<Buffer> {
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
      reject(new AppError('invalid_request')); // cut before its end; of no effect after it
    });
  });
}

function upload(req: Request, { limitBytes, timeoutMs, abort }: BodyOptions): Upload {
  let bytes = 0;
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      idleTimer.refresh();
      done(bytes > limitBytes ? new AppError('payload_too_large') : null, chunk);
    },
  });
  const idleTimer = setTimeout(() => {
    // Whatever came has been taken, and more is to come: it is the caller who is silent, else the API.
    const isDrained = stream.writableLength + stream.readableLength === 0;
    abort(new AppError(isDrained && !stream.writableEnded ? 'request_timeout' : 'upstream_timeout'));
  }, timeoutMs).unref();
  stream.on('error', () => undefined); // told to whoever takes it; nobody does while the API is left alone
  return { stream: req.pipe(stream), markResponseStarted: () => clearTimeout(idleTimer) };
}
