import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestHandler } from 'express';
import { type HttpLogger, pinoHttp } from 'pino-http';
import { describeError, type Logger } from '../logger.ts';

/**
 * Logs one line per request: id, method, path, status, milliseconds. Never a query, header, cookie or body, because
 * they contain codes, states and tokens. The response has the id as `X-Request-Id`.
 */
export function createRequestLog(log: Logger): RequestHandler {
  const requestLog: HttpLogger = pinoHttp({
    logger: log,
    genReqId: (_req, res) => {
      const id = randomUUID();
      res.setHeader('X-Request-Id', id);
      return id;
    },
    quietReqLogger: true,
    customSuccessObject: (req, _res, line) => withTraceId(req, line),
    customLogLevel: (_req, res) => (res.statusCode >= 500 ? 'warn' : 'info'),
    // The cause of a failure has its own line (pages/error-response.ts).
    customErrorObject: (req, _res, _error, { err: _, ...line }) => withTraceId(req, line),
    wrapSerializers: false,
    serializers: {
      req: (req: IncomingMessage & { originalUrl?: string }) => ({
        method: req.method,
        path: (req.originalUrl ?? req.url ?? '').split('?', 1)[0],
      }),
      res: (res: ServerResponse) => ({ status: res.statusCode }),
      err: describeError,
    },
  });
  return function logRequest(req, res, next) {
    requestLog(req, res);
    if (req.traceId !== undefined) req.log = req.log.child({ traceId: req.traceId });
    next();
  };
}

function withTraceId(req: IncomingMessage & { traceId?: string }, line: object): object {
  return req.traceId === undefined ? line : { ...line, traceId: req.traceId };
}
