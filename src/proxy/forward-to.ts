import type { RequestHandler } from 'express';
import type { Dispatcher } from 'undici';
import { type ResourceServer, routeDefaults } from '../config/route-table.ts';
import { AppError } from '../errors.ts';
import type { CallUpstream } from './call-upstream.ts';
import type { OpenStreams } from './open-streams.ts';
import { upstreamHeaders } from './proxy-headers.ts';
import { readRequestBody } from './request-body.ts';
import { readStepUp, stepUpError } from './step-up.ts';
import { createTargetPath, createTargetQuery } from './target-path.ts';
import { drainResponse, isEventStream, sendResponse, streamResponse } from './upstream-response.ts';
import { forwardWebSocket } from './websocket-proxy.ts';

/** Where a request goes; what is left out is as in a row of the API table that leaves it out. */
type Destination = Pick<ResourceServer, 'origin' | 'targetPath'> & Partial<ResourceServer>;

interface ForwarderParts {
  readonly callUpstream: CallUpstream;
  readonly streams: OpenStreams;
  readonly now: () => number;
}

/**
 * `forwardTo(server)`: passes a request on to the API with the tokenSource token a guard found for it (with none when
 * `token` is `none`), both bodies streamed. Streams and WebSockets end with the session they belong to.
 * @throws AppError `login_required`, `insufficient_scope`, `insufficient_user_authentication`, `payload_too_large`,
 * `request_timeout`, and what `callUpstream` throws
 */
export function createForwarder({ callUpstream, streams, now }: ForwarderParts) {
  return function forwardTo(destination: Destination): RequestHandler {
    const server = { ...routeDefaults, ...destination };
    const targetPathFor = createTargetPath(server.targetPath);
    const targetQueryFor = createTargetQuery(server.query);

    return async function forward(req, res) {
      const { tokenSource, login } = req;
      if (!tokenSource && server.token !== 'none') throw new AppError('login_required');
      if (res.closed) return; // the browser left while its token was looked up
      const path = targetPathFor(req.params) + targetQueryFor(req.url);
      const open = (end: Parameters<OpenStreams['open']>[1]) => streams.open(tokenSource?.sessionId, end);
      if (req.webSocketHandshake) {
        if (!server.webSocket) throw new AppError('not_found');
        const url = new URL(server.origin + path);
        const headers = { ...upstreamHeaders(req, false), ...server.headers };
        return forwardWebSocket(req, res, { ...server, url, headers, tokenSource, open });
      }

      const clientAbort = new AbortController();
      res.on('close', () => {
        if (!res.writableFinished) clientAbort.abort(); // the browser went away
      });
      try {
        const sent = await readRequestBody(req, {
          limitBytes: server.bodyLimitBytes,
          timeoutMs: server.timeoutMs,
          abort: (reason) => clientAbort.abort(reason),
        });
        const response = await callUpstream({
          server,
          method: req.method as Dispatcher.HttpMethod,
          path,
          headers: Object.assign(upstreamHeaders(req, sent !== null), server.headers),
          tokenSource,
          body: Buffer.isBuffer(sent) ? sent : (sent?.stream ?? null),
          signal: clientAbort.signal,
        });
        if (!Buffer.isBuffer(sent)) sent?.markResponseStarted();
        const stepUp = login && response.statusCode >= 400 ? await readStepUp(response) : undefined;
        if (login && stepUp) {
          drainResponse(response);
          throw stepUpError(stepUp, login, now());
        }
        if (server.stream || isEventStream(response)) streamResponse(response, res, open);
        else sendResponse(response, res);
      } catch (error) {
        if (res.closed) return; // nobody is there to be told
        req.unpipe().resume(); // whoever is still sending reads the response only when that is taken
        throw error;
      }
    };
  };
}
