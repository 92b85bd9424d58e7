import type { RequestHandler } from 'express';
import type { Dispatcher } from 'undici';
import { AppError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { CallUpstream } from '../proxy/call-upstream.ts';
import type { OpenStreams, RegisterStream } from '../proxy/open-streams.ts';
import { canHaveBody, readRequestBody } from '../proxy/request-body.ts';
import { isEventStream, streamResponse } from '../proxy/stream-response.ts';
import { CallAbort } from '../proxy/upstream/call-abort.ts';
import { identifyCaller } from '../proxy/upstream/circuit-breaker.ts';
import type { UpstreamResponse } from '../proxy/upstream/exchange.ts';
import { createUpstreamMeasure } from '../proxy/upstream/measure.ts';
import { sendResponse } from '../proxy/upstream-response.ts';
import { forwardWebSocket } from '../proxy/websocket/proxy.ts';
import { rejectImpossibleHandshake } from '../proxy/websocket/upgrade.ts';
import { onResponseClosed } from '../response-closed.ts';
import { createAppHeadersBuilder, createBrowserHeadersBuilder } from './app-headers.ts';

interface AppOptions {
  readonly app: URL;
  readonly publicOrigin: string;
  readonly basePath: string;
  readonly policy: { readonly text: string | undefined; readonly isConfigured: boolean };
  readonly isPrivate: boolean;
  /** Error pages name the address that does not respond. */
  readonly namesAddress: boolean;
  readonly callUpstream: CallUpstream;
  readonly streams: OpenStreams;
  readonly metrics: Pick<Metrics, 'upstreamRequestSeconds'>;
  readonly log: Logger;
}

const clientDisconnected = new Error('the client disconnected');
/** A development server responds to the first request when it has compiled the app. */
const timeoutMs = 60_000;
const idleMs = 300_000;
const bodyLimitBytes = 104_857_600;

/**
 * Forwards requests to the app that serves the front end, WebSockets included. The app receives the request as the browser sent
 * it, without tokens and without the cookies of Latchkey.
 * @throws AppError `upstream_unreachable`, `upstream_timeout`, `payload_too_large`, `request_timeout`, `too_many_requests`
 */
export function createAppForwarder(options: AppOptions): RequestHandler {
  const { app, publicOrigin, callUpstream, streams, metrics, log, namesAddress } = options;
  const measure = createUpstreamMeasure(metrics);
  const buildAppHeaders = createAppHeadersBuilder(app, publicOrigin);
  const server = {
    origin: app.origin,
    hasRouteBreaker: false,
    ...{ timeoutMs, idleMs, stream: true, tokenRefusedStatuses: [] },
  };
  let hasWarned = false;
  const buildHeaders = createBrowserHeadersBuilder({
    ...options,
    onRefusedCookies() {
      if (!hasWarned)
        log.warn({ app: app.origin }, 'the app tried to set a cookie that only Latchkey may set');
      hasWarned = true;
    },
  });

  /** An error of a call, with the address of the app for developers. */
  function describe(error: unknown): unknown {
    if (!(error instanceof AppError) || error.status < 500 || error.limit !== undefined) return error;
    const { cause, retryAfterSeconds } = error;
    const code = error.code === 'upstream_timeout' ? error.code : 'upstream_unreachable'; // also if a circuit breaker is open
    return new AppError(code, {
      cause,
      ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
      ...(namesAddress && { address: app.origin }),
    });
  }

  return async function forwardToApp(req, res) {
    if (req.method === 'TRACE') throw new AppError('method_not_allowed', { allow: ['GET', 'HEAD', 'POST'] });
    const path = options.basePath + readTarget(req.originalUrl); // the app is built for this base path
    const session = req.frontEndSession;
    const owner = { sessionId: session?.id, userId: session?.user.sub, address: req.ip };
    const registerStream: RegisterStream = (close) => streams.register(session?.id, close);
    const reserveStream = () => res.once('close', streams.reserve(owner));
    rejectImpossibleHandshake(req);
    const releaseConnection = streams.reserveConnection(app.origin, owner);
    if (req.webSocketHandshake) {
      res.once('close', releaseConnection);
      reserveStream();
      return forwardWebSocket(req, res, {
        ...{ server, measure, registerStream, buildHeaders, timeoutMs, tokenRefusedStatuses: [] },
        url: new URL(app.origin + path),
        headers: buildAppHeaders(req, false),
        mapRejection: () => {},
      }).catch((error) => Promise.reject(describe(error)));
    }

    const abort = new CallAbort();
    onResponseClosed(res, () => {
      releaseConnection();
      if (!res.writableFinished) abort.abort(clientDisconnected);
    });
    let response: UpstreamResponse | undefined;
    try {
      const body = await readRequestBody(req, {
        limitBytes: bodyLimitBytes,
        timeoutMs,
        abort: (reason) => abort.abort(reason),
      });
      response = await callUpstream({
        server,
        method: req.method as Dispatcher.HttpMethod,
        path,
        headers: buildAppHeaders(req, canHaveBody(req.method)),
        caller: identifyCaller(req),
        body: Buffer.isBuffer(body) ? body : (body?.stream ?? null),
        abort,
      });
      if (!Buffer.isBuffer(body)) body?.markResponseStarted();
      if (isEventStream(response)) {
        req.hasEventStream = true;
        reserveStream();
        streamResponse(response, res, registerStream, buildHeaders);
      } else sendResponse(response, res, buildHeaders);
    } catch (error) {
      if (response && !res.headersSent) response.body.discard(); // unread, it would occupy its connection for ever
      if (!res.closed) throw describe(error);
    }
  };
}

/** Path and query of a request, with nothing that could end the line of a request. */
function readTarget(url: string): string {
  const target = url.replace(/^[a-z][a-z\d+.-]*:\/\/[^/?#]*/i, '').replace(/#.*$/s, '');
  if (!target.startsWith('/')) throw new AppError('not_found');
  return target.replace(
    /[^\x21-\x7e]/g,
    (each) => `%${each.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}
