import type { IncomingHttpHeaders } from 'node:http';
import type { Request, RequestHandler } from 'express';
import type { Dispatcher } from 'undici';
import { type ResourceServer, routeDefaults } from '../config/route-table.ts';
import { AppError } from '../errors.ts';
import { createMetrics, type Metrics } from '../metrics/metrics.ts';
import { onResponseClosed } from '../response-closed.ts';
import type { CallUpstream } from './call-upstream.ts';
import { listHostRoutes } from './host-routes.ts';
import type { OpenStreams, RegisterStream } from './open-streams.ts';
import { canHaveBody, readRequestBody } from './request-body.ts';
import { createUpstreamHeadersBuilder } from './request-headers.ts';
import { createAddressMapper } from './response-addresses.ts';
import { createStepUpError, readStepUp } from './step-up.ts';
import type { StreamOwner } from './stream-limits.ts';
import { isEventStream, streamResponse } from './stream-response.ts';
import { createTargetPathBuilder, createTargetQueryBuilder } from './target-path.ts';
import { CallAbort } from './upstream/call-abort.ts';
import { identifyCaller } from './upstream/circuit-breaker.ts';
import type { UpstreamResponse } from './upstream/exchange.ts';
import { createUpstreamMeasure } from './upstream/measure.ts';
import { sendResponse } from './upstream-response.ts';
import { forwardWebSocket } from './websocket/proxy.ts';
import { rejectImpossibleHandshake } from './websocket/upgrade.ts';

/** Where a request is sent. Omitted members have the defaults of the route table. */
type ForwardOptions = Pick<ResourceServer, 'origin' | 'targetPath'> &
  Partial<ResourceServer> & {
    /** The path of a route of the app around Latchkey, with its parameters; addresses in all responses are mapped to it. */
    readonly hostPath?: string | undefined;
  };

interface ForwarderParts {
  readonly callUpstream: CallUpstream;
  readonly streams: OpenStreams;
  readonly now: () => number;
  /** For WebSocket handshakes; `callUpstream` measures other requests. */
  readonly metrics?: Pick<Metrics, 'upstreamRequestSeconds'>;
  /** The whole route table, to which addresses in responses are mapped back. */
  readonly routes?: readonly ResourceServer[];
  readonly basePath?: string;
}

const clientDisconnected = new Error('the client disconnected');

/**
 * `forwardTo(options)`: the handler that forwards a request to the API with the access token of `req.tokenSource`
 * (without one when `token` is `none`). Both bodies are streamed. Streams and WebSockets are closed when their session
 * ends.
 * @throws AppError `login_required`, `insufficient_scope`, `insufficient_user_authentication`, `payload_too_large`,
 * `request_timeout`, `too_many_requests` (streams, connections of one caller), `temporarily_unavailable` (connections), and
 * what `callUpstream` throws
 */
export function createForwarder(parts: ForwarderParts) {
  const { callUpstream, streams, now, metrics = createMetrics(), routes = [], basePath = '' } = parts;
  const measure = createUpstreamMeasure(metrics);
  const mapAddresses = createAddressMapper(routes, basePath);
  return function forwardTo(options: ForwardOptions): RequestHandler {
    const server = { ...routeDefaults, ...options };
    const buildTargetPath = createTargetPathBuilder(server.targetPath);
    const buildUpstreamHeaders = createUpstreamHeadersBuilder(server);
    if (options.hostPath !== undefined)
      mapAddresses.addRoute({ ...server, prefix: '', path: options.hostPath });
    const buildTargetQuery = createTargetQueryBuilder(server.query, server.targetQuery);

    return async function forward(req, res) {
      const { login } = req;
      const tokenSource = server.token === 'none' ? undefined : req.tokenSource;
      if (!tokenSource && server.token !== 'none') throw new AppError('login_required');
      if (res.closed) return; // the browser disconnected while its token was loaded
      const targetPath = buildTargetPath(req);
      const path = targetPath + buildTargetQuery(req.url);
      const hostRoutes = () => listHostRoutes(req, server, targetPath);
      const sent = { origin: server.origin, path, routePath: server.path, hostRoutes };
      const registerStream: RegisterStream = (close) => streams.register(req.tokenSource?.sessionId, close);
      if (server.webSocket) rejectImpossibleHandshake(req);
      const owner = new RequestOwner(req);
      const reserveStream = () => res.once('close', streams.reserve(owner));
      if (server.stream || (server.webSocket && req.webSocketHandshake)) reserveStream();
      const releaseConnection = streams.reserveConnection(server.origin, owner);
      if (req.webSocketHandshake) {
        res.once('close', releaseConnection);
        if (!server.webSocket) throw new AppError('not_found');
        const url = new URL(server.origin + path);
        const headers = { ...buildUpstreamHeaders(req, false), ...server.headers };
        const mapRejection = (rejected: IncomingHttpHeaders) => mapAddresses(rejected, sent);
        const options = {
          ...server,
          server,
          measure,
          url,
          headers,
          tokenSource,
          registerStream,
          mapRejection,
        };
        return forwardWebSocket(req, res, options);
      }

      const abort = new CallAbort();
      onResponseClosed(res, () => {
        releaseConnection();
        if (!res.writableFinished) abort.abort(clientDisconnected);
      });
      let response: UpstreamResponse | undefined;
      try {
        const requestBody = await readRequestBody(req, {
          limitBytes: server.bodyLimitBytes,
          timeoutMs: server.timeoutMs,
          abort: (reason) => abort.abort(reason),
        });
        response = await callUpstream({
          server,
          method: req.method as Dispatcher.HttpMethod,
          path,
          headers: Object.assign(buildUpstreamHeaders(req, canHaveBody(req.method)), server.headers),
          tokenSource,
          caller: identifyCaller(req),
          body: Buffer.isBuffer(requestBody) ? requestBody : (requestBody?.stream ?? null),
          abort,
        });
        mapAddresses(response.headers, sent);
        if (!Buffer.isBuffer(requestBody)) requestBody?.markResponseStarted();
        const stepUp = login && response.statusCode >= 400 ? await readStepUp(response) : undefined;
        if (login && stepUp) throw createStepUpError(stepUp, login, now());
        const isEvents = isEventStream(response);
        if (isEvents) req.hasEventStream = true;
        if (isEvents && !server.stream) reserveStream();
        if (server.stream || isEvents) streamResponse(response, res, registerStream);
        else sendResponse(response, res);
      } catch (error) {
        if (response && !res.headersSent) response.body.discard(); // unread, it would occupy its connection for ever
        if (res.closed) return; // no browser is left to receive the error
        throw error;
      }
    };
  };
}

/**
 * Middleware for a handler that streams its response itself: the response counts as a stream, and is closed when its session
 * ends. Mount it after the guards.
 * @throws AppError `too_many_requests`
 */
export function createStreamGuard(streams: OpenStreams): RequestHandler {
  return function closeWithSession(req, res, next) {
    res.once('close', streams.reserve(new RequestOwner(req)));
    onResponseClosed(
      res,
      streams.register(req.tokenSource?.sessionId, () => res.destroy()),
    );
    next();
  };
}

/** A class, because an object literal with a getter would keep `req` in memory until the next full garbage collection. */
class RequestOwner implements StreamOwner {
  readonly #req: Request;

  constructor(req: Request) {
    this.#req = req;
  }

  get sessionId(): string | undefined {
    return this.#req.tokenSource?.sessionId;
  }

  get userId(): string | undefined {
    return this.#req.login?.user.sub;
  }

  /** Seldom needed, and not free. */
  get address(): string | undefined {
    return this.#req.ip;
  }
}
