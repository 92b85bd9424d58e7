import type { IncomingHttpHeaders } from 'node:http';
import type { RequestHandler } from 'express';
import { isTracingEnabled, recordStatus, startRequestSpan } from '../tracing.ts';

declare global {
  namespace Express {
    interface Request {
      /** The id of the trace that the request belongs to, 32 hexadecimal digits; absent without a trace. */
      traceId?: string;
    }
  }
}

/** W3C Trace Context 3.2.2. A version after 00 may have further parts. */
const traceParentPattern =
  /^(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})[\da-f]{16}-[\da-f]{2}(?:$|(?<!^00.*)-)/;
const maxTraceParentLength = 256;
/** W3C Trace Context 3.3.1.5: the length that an intermediary should at least forward. */
const maxTraceStateLength = 512;
const traceStatePattern = /^[\x20-\x7e]*$/;

/**
 * Middleware that removes `traceparent` and `tracestate` unless they are valid and come from a trusted proxy: other
 * clients could choose the ids in the operator's traces and logs. Accepted headers are forwarded to the API. With an
 * OpenTelemetry SDK, it also creates a span for the request, the parent of the spans of the calls to the API.
 */
export function createTraceContext(isTrustedProxy: (address: string) => boolean): RequestHandler {
  return function traceContext(req, res, next) {
    const { headers, socket } = req;
    const traceId = isTrustedProxy(socket.remoteAddress ?? '') ? readTraceId(headers) : undefined;
    if (traceId === undefined) {
      // Only if present: `delete` makes every later access to the headers slower.
      if (headers.traceparent !== undefined) delete headers.traceparent;
      if (headers.tracestate !== undefined) delete headers.tracestate;
    } else if (!isValidTraceState(headers.tracestate)) delete headers.tracestate;
    if (traceId !== undefined) req.traceId = traceId;
    if (!isTracingEnabled()) return next();
    // Only these two, because the propagator of the SDK may read further headers, such as `baggage`.
    const { traceparent, tracestate } = headers;
    const request = startRequestSpan({ traceparent, tracestate });
    req.traceId = request.traceId;
    res.once('close', () => {
      const { span } = request;
      const route = req.measuredAs?.route;
      span.setAttributes({
        'http.request.method': req.method,
        ...(route !== undefined && { 'http.route': route }),
      });
      span.updateName(`${req.method} ${route ?? ''}`.trim());
      recordStatus(span, 'server', res.statusCode);
      span.end();
    });
    request.run(next);
  };
}

function readTraceId({ traceparent }: IncomingHttpHeaders): string | undefined {
  if (typeof traceparent !== 'string' || traceparent.length > maxTraceParentLength) return undefined;
  return traceParentPattern.exec(traceparent)?.[1];
}

function isValidTraceState(value: unknown): boolean {
  return typeof value === 'string' && value.length <= maxTraceStateLength && traceStatePattern.test(value);
}
