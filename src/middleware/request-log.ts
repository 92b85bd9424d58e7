import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestHandler } from 'express';
import { type HttpLogger, pinoHttp } from 'pino-http';
import { describeError, type Logger } from '../logger.ts';
import { paths } from '../paths.ts';
import { runInRequest } from '../request-context.ts';

/**
 * Logs one line per request: id, method, path, status, milliseconds. Never a query, header, cookie or body, because
 * they contain codes, states and tokens. The response has the id as `X-Request-Id`, and every other line that is written for the
 * request has it too. Requests for static files are logged at level `debug`.
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
    customLogLevel: (req, res) => (res.statusCode >= 500 ? 'warn' : isStaticFile(req) ? 'debug' : 'info'),
    // The cause of a failure has its own line (pages/error-response.ts).
    customErrorObject: (_req, _res, _error, { err: _, ...line }) => line,
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
    const context = { requestId: String(req.id), address: req.ip, userAgent: req.headers['user-agent'] };
    runInRequest(context, next);
  };
}

/** The files of the pages: several requests for each page, which say nothing. */
function isStaticFile({ originalUrl, url = '' }: IncomingMessage & { originalUrl?: string }): boolean {
  return (originalUrl ?? url).startsWith(`${paths.assets}/`);
}
