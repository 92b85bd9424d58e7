import { Transform } from 'node:stream';
import type { Request, RequestHandler, Response } from 'express';
import type { Dispatcher } from 'undici';
import { AppError } from '../errors.ts';
import { browserHeaders, upstreamHeaders } from './proxy-headers.ts';

/** One row of the API table: where requests of a route go. */
export interface ResourceServer {
  /** The whole address; only the caller's query is added to it. */
  readonly target: URL;
  /** How long the API may take to begin its answer, and to go on with it. */
  readonly timeoutMs: number;
  /** The largest request body that is passed on. */
  readonly bodyLimitBytes: number;
}

const bodilessMethods = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * `forwardTo(server)`: passes a request that `requireToken` let through on to the API, both bodies streamed.
 * @throws AppError `payload_too_large`, `upstream_unreachable`, `upstream_timeout`
 */
export function createForwardTo(upstream: Dispatcher): (server: ResourceServer) => RequestHandler {
  return function forwardTo({ target, timeoutMs, bodyLimitBytes }) {
    const { origin, pathname } = target;
    return async function forward(req, res) {
      if (!req.login) throw new AppError('login_required');
      if (res.closed) return; // the browser left while its token was looked up
      const body = bodyOf(req, bodyLimitBytes);
      const hangUp = new AbortController();
      res.on('close', () => {
        if (!res.writableFinished) hangUp.abort(); // the browser went away
      });

      try {
        const answer = await upstream.request({
          origin,
          path: pathname + queryOf(req.url),
          method: req.method as Dispatcher.HttpMethod,
          headers: upstreamHeaders(req, req.login.tokens.accessToken, body !== null),
          body,
          signal: hangUp.signal,
          headersTimeout: timeoutMs,
          bodyTimeout: timeoutMs,
        });
        pass(answer, res);
      } catch (error) {
        if (res.closed) return; // nobody is there to be told
        throw upstreamFailure(error);
      }
    };
  };
}

function pass({ statusCode, headers, body }: Dispatcher.ResponseData, res: Response): void {
  res.writeHead(statusCode, browserHeaders(headers));
  if (statusCode === 304 || statusCode === 204) {
    // A 304 may tell the length that a 200 would have (RFC 9110 8.6), which undici then misses in the body.
    body.on('error', () => undefined).resume();
    res.end();
    return;
  }
  // Not `pipeline`, which makes a DOMException for every answer that ends well; `hangUp` is the other direction.
  body.on('error', () => res.destroy()); // an API that fails half-way leaves an answer that is cut, and looks it
  body.pipe(res);
}

function bodyOf(req: Request, limit: number): Request | Transform | null {
  const isChunked = req.headers['transfer-encoding'] !== undefined;
  const length = Number(req.headers['content-length'] ?? 0);
  if (bodilessMethods.has(req.method) || (!isChunked && length === 0)) return null;
  if (length > limit) throw new AppError('payload_too_large');
  return isChunked ? req.pipe(limited(limit)) : req;
}

function limited(limit: number): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      done(bytes > limit ? new AppError('payload_too_large') : null, chunk);
    },
  });
}

/** The query as it came; a fragment has no business in a request. */
function queryOf(url: string): string {
  const start = url.indexOf('?');
  if (start < 0) return '';
  const end = url.indexOf('#', start);
  return end < 0 ? url.slice(start) : url.slice(start, end);
}

function upstreamFailure(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const isTimeout = code.endsWith('_TIMEOUT') || code === 'ETIMEDOUT';
  return new AppError(isTimeout ? 'upstream_timeout' : 'upstream_unreachable', { cause: error });
}
