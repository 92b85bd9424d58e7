import { randomUUID } from 'node:crypto';
import type { Request, RequestHandler, Response } from 'express';
import type { Logger } from '../logger.ts';
import { paths } from '../paths.ts';
import { type RequestContext, runInRequest } from '../request-context.ts';
import { onResponseClosed } from '../response-closed.ts';
import { elapsedMs } from '../time/elapsed.ts';

declare global {
  namespace Express {
    interface Request {
      /** The id of the request in the log and in `X-Request-Id`. */
      id: string;
      /** Writes lines with the id of the request. */
      readonly log: Logger;
      /** True for a file of a page: its log line has level `debug`. */
      isQuiet?: boolean;
    }
  }
}

const ownLog = Symbol('ownLog');
type LoggingRequest = Request & { [ownLog]?: Logger };

/**
 * Logs one line per request: id, method, path, status, milliseconds. Never a query, header, cookie or body, because
 * they contain codes, states and tokens. The response has the id as `X-Request-Id`, and every other line that is written for the
 * request has it too. Requests for static files are logged at level `debug`.
 */
export function createRequestLog(log: Logger): RequestHandler {
  return function logRequest(req, res, next) {
    if (!('log' in req)) addLog(Object.getPrototypeOf(req), log);
    const startedAt = elapsedMs();
    req.id = randomUUID();
    if (!res.defaultHeaders) res.setHeader('X-Request-Id', req.id); // otherwise it is sent with them
    res.on('error', ignore); // without a listener, a write after the end would stop the process
    onResponseClosed(res, () => writeLine(log, req, res, Math.round(elapsedMs() - startedAt)));
    runInRequest(new CurrentRequest(req), next);
  };
}

/** Adds `log` to all requests of an app. A logger is created only for a request that logs something. */
function addLog(requests: LoggingRequest, log: Logger): void {
  Object.defineProperty(requests, 'log', {
    get(this: LoggingRequest): Logger {
      const { id, traceId } = this;
      this[ownLog] ??= log.child({ reqId: id, ...(traceId !== undefined && { traceId }) });
      return this[ownLog];
    },
  });
}

function ignore(): void {}

function writeLine(log: Logger, req: Request, res: Response, responseTime: number): void {
  const { id: reqId, method, originalUrl, traceId } = req;
  const end = originalUrl.indexOf('?');
  const path = end < 0 ? originalUrl : originalUrl.slice(0, end);
  const status = res.statusCode;
  const line = { reqId, method, path, status, responseTime };
  if (traceId !== undefined) Object.assign(line, { traceId });
  // The cause of a failure has its own line (pages/error-response.ts).
  if (status >= 500) log.warn(line, 'request errored');
  else if (req.isQuiet || path.startsWith(`${paths.assets}/`)) log.debug(line, describeEnd(res));
  else log.info(line, describeEnd(res));
}

function describeEnd(res: Response): string {
  return res.writableEnded ? 'request completed' : 'request aborted';
}

/** The facts are read when they are needed, which is seldom. */
class CurrentRequest implements RequestContext {
  readonly #req: Request;

  constructor(req: Request) {
    this.#req = req;
  }

  get requestId(): string {
    return this.#req.id;
  }

  get address(): string | undefined {
    return this.#req.ip;
  }

  get userAgent(): string | undefined {
    return this.#req.headers['user-agent'];
  }
}
