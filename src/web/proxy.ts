import type { RequestHandler, Response } from 'express';
import type { Dispatcher } from 'undici';
import { AppError } from '../errors.ts';
import { type ResourceServer, routeDefaults } from '../route-table.ts';
import type { Bearer } from './bearer.ts';
import { browserHeaders, upstreamHeaders } from './proxy-headers.ts';
import { bodyOf } from './request-body.ts';
import type { SessionStreams } from './session-streams.ts';
import { readStepUp, stepUpError } from './step-up.ts';
import { createTargetPath, createTargetQuery } from './target-path.ts';
import type { CallUpstream } from './upstream.ts';

/** Where a request goes; what is left out is as in a row of the API table that leaves it out. */
type Destination = Pick<ResourceServer, 'origin' | 'targetPath'> & Partial<ResourceServer>;

const endOfEvent = /(\n\n|\r\r|\r\n\r\n)$/;
const sessionEnded = `event: session_ended\ndata: ${JSON.stringify({ error: 'login_required' })}\n\n`;

/**
 * `forwardTo(server)`: passes a request on to the API with the bearer token a guard found for it (with none when
 * `token` is `none`), both bodies streamed. Streams end with the session they belong to.
 * @throws AppError `login_required`, `payload_too_large`, `request_timeout`, and what `callUpstream` throws
 */
export function createForwardTo(
  callUpstream: CallUpstream,
  streams: SessionStreams,
  now: () => number,
): (destination: Destination) => RequestHandler {
  return function forwardTo(destination) {
    const server = { ...routeDefaults, ...destination };
    const pathOf = createTargetPath(server.targetPath);
    const queryOf = createTargetQuery(server.query);

    return async function forward(req, res) {
      const { bearer } = req;
      if (!bearer && server.token !== 'none') throw new AppError('login_required');
      if (res.closed) return; // the browser left while its token was looked up
      const path = pathOf(req.params) + queryOf(req.url);
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
        const challenge = req.login && (await readStepUp(answer));
        if (req.login && challenge) {
          await answer.body.dump();
          throw stepUpError(challenge, req.login, now());
        }
        pass(answer, res);
        if (server.stream || isEventStream(answer)) endWithSession(answer, res, bearer, streams);
      } catch (error) {
        if (res.closed) return; // nobody is there to be told
        req.resume(); // whoever is still sending reads the answer only when that is taken
        throw error;
      }
    };
  };
}

function pass({ statusCode, headers, body }: Dispatcher.ResponseData, res: Response): void {
  res.writeHead(statusCode, browserHeaders(headers, res.getHeader('Vary')));
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

/** Lets an answer that may go on for long begin at once, and end with its session; events with a last one of ours. */
function endWithSession(
  answer: Dispatcher.ResponseData,
  res: Response,
  bearer: Bearer | undefined,
  streams: SessionStreams,
): void {
  res.flushHeaders(); // the first event may be long in coming
  if (bearer?.sessionId === undefined) return;
  const { body, headers } = answer;
  let tail = '\n\n';
  body.on('data', (chunk: Buffer) => {
    tail = (tail + chunk.subarray(-4).toString('latin1')).slice(-4);
  });
  const forget = streams.open(bearer.sessionId, () => {
    // Half an event, or half a file, must not look like a whole one.
    if (!isEventStream(answer) || headers['content-encoding'] !== undefined || !endOfEvent.test(tail))
      return res.destroy();
    body.unpipe(res);
    res.end(sessionEnded); // and its end hangs up on the API
    body
      .removeAllListeners('error')
      .on('error', () => undefined)
      .destroy();
  });
  res.on('close', forget);
}

function isEventStream({ headers }: Dispatcher.ResponseData): boolean {
  return /^text\/event-stream\b/i.test(String(headers['content-type'] ?? ''));
}
