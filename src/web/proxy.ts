import type { RequestHandler } from 'express';
import type { Dispatcher } from 'undici';
import { AppError } from '../errors.ts';
import { type ResourceServer, routeDefaults } from '../route-table.ts';
import { upstreamHeaders } from './proxy-headers.ts';
import { bodyOf } from './request-body.ts';
import type { SessionStreams } from './session-streams.ts';
import { readStepUp, stepUpError } from './step-up.ts';
import { createTargetPath, createTargetQuery } from './target-path.ts';
import type { CallUpstream } from './upstream.ts';
import { discard, isEventStream, passAnswer, passStream } from './upstream-answer.ts';
import { forwardWebSocket } from './web-socket.ts';

/** Where a request goes; what is left out is as in a row of the API table that leaves it out. */
type Destination = Pick<ResourceServer, 'origin' | 'targetPath'> & Partial<ResourceServer>;

interface ForwardParts {
  readonly callUpstream: CallUpstream;
  readonly streams: SessionStreams;
  readonly now: () => number;
}

/**
 * `forwardTo(server)`: passes a request on to the API with the bearer token a guard found for it (with none when
 * `token` is `none`), both bodies streamed. Streams and WebSockets end with the session they belong to.
 * @throws AppError `login_required`, `insufficient_scope`, `insufficient_user_authentication`, `payload_too_large`,
 * `request_timeout`, and what `callUpstream` throws
 */
export function createForwardTo({ callUpstream, streams, now }: ForwardParts) {
  return function forwardTo(destination: Destination): RequestHandler {
    const server = { ...routeDefaults, ...destination };
    const pathOf = createTargetPath(server.targetPath);
    const queryOf = createTargetQuery(server.query);

    return async function forward(req, res) {
      const { bearer, login } = req;
      if (!bearer && server.token !== 'none') throw new AppError('login_required');
      if (res.closed) return; // the browser left while its token was looked up
      const path = pathOf(req.params) + queryOf(req.url);
      const open = (end: Parameters<SessionStreams['open']>[1]) => streams.open(bearer?.sessionId, end);
      if (req.webSocketHandshake) {
        if (!server.webSocket) throw new AppError('not_found');
        const url = new URL(server.origin + path);
        const headers = { ...upstreamHeaders(req, false), ...server.headers };
        return forwardWebSocket(req, res, { ...server, url, headers, bearer, open });
      }

      const hangUp = new AbortController();
      res.on('close', () => {
        if (!res.writableFinished) hangUp.abort(); // the browser went away
      });
      try {
        const sent = await bodyOf(req, {
          limitBytes: server.bodyLimitBytes,
          timeoutMs: server.timeoutMs,
          abort: (reason) => hangUp.abort(reason),
        });
        const answer = await callUpstream({
          server,
          method: req.method as Dispatcher.HttpMethod,
          path,
          headers: Object.assign(upstreamHeaders(req, sent !== null), server.headers),
          bearer,
          body: Buffer.isBuffer(sent) ? sent : (sent?.stream ?? null),
          signal: hangUp.signal,
        });
        if (!Buffer.isBuffer(sent)) sent?.answered();
        const stepUp = login && answer.statusCode >= 400 ? await readStepUp(answer) : undefined;
        if (login && stepUp) {
          discard(answer);
          throw stepUpError(stepUp, login, now());
        }
        if (server.stream || isEventStream(answer)) passStream(answer, res, open);
        else passAnswer(answer, res);
      } catch (error) {
        if (res.closed) return; // nobody is there to be told
        req.unpipe().resume(); // whoever is still sending reads the answer only when that is taken
        throw error;
      }
    };
  };
}
