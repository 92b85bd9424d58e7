import { Transform } from 'node:stream';
import type { Request } from 'express';
import { AppError } from '../errors.ts';
import { bringsAForm, largestFormBytes } from './kept-form.ts';
import { isSafe } from './methods.ts';

/** Bodies up to this size are held until the answer is there, so that they can be sent once more; forms may be larger. */
const longestHeldBytes = 65_536;

interface BodyOptions {
  /** The largest body that is taken. */
  readonly limitBytes: number;
  /** The longest silence of whoever sends it, and of whoever takes it. */
  readonly timeoutMs: number;
  /** Ends the call for the reason that is given. */
  readonly abort: (reason: AppError) => void;
}

/** A body that flows as fast as the API takes it. */
export interface Upload {
  readonly stream: Transform;
  /** The API has begun its answer: the silence of the upload does not matter any more. */
  answered(): void;
}

/**
 * The body of a request as an API gets it: none, a small one of known length as a whole, else as a stream.
 * @throws AppError `payload_too_large`, `request_timeout`
 */
export async function bodyOf(req: Request, options: BodyOptions): Promise<null | Buffer | Upload> {
  const isChunked = req.headers['transfer-encoding'] !== undefined;
  const length = Number(req.headers['content-length'] ?? 0);
  if (isSafe(req.method) || (!isChunked && length === 0)) return null;
  if (length > options.limitBytes) throw new AppError('payload_too_large');
  if (req.keptBody) return req.keptBody;
  if (isChunked || length > (bringsAForm(req) ? largestFormBytes : longestHeldBytes))
    return upload(req, options);
  req.keptBody = await readWhole(req, options.timeoutMs);
  return req.keptBody;
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
      silence.refresh();
      done(bytes > limitBytes ? new AppError('payload_too_large') : null, chunk);
    },
  });
  const silence = setTimeout(() => {
    // Whatever came has been taken, and more is to come: it is the caller who is silent, else the API.
    const isTaken = stream.writableLength + stream.readableLength === 0;
    abort(new AppError(isTaken && !stream.writableEnded ? 'request_timeout' : 'upstream_timeout'));
  }, timeoutMs).unref();
  stream.on('error', () => undefined); // told to whoever takes it; nobody does while the API is left alone
  return { stream: req.pipe(stream), answered: () => clearTimeout(silence) };
}
