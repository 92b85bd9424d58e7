import type { Response } from 'express';
import type { Dispatcher } from 'undici';
import { browserHeaders } from './proxy-headers.ts';
import type { SessionStreams } from './session-streams.ts';

type Answer = Dispatcher.ResponseData;

const mostDiscardedBytes = 131_072;
const longestDiscardMs = 500;
const endOfEvent = /(\n\n|\r\r|\r\n\r\n)$/;
const longestGoodbyeMs = 500;
const sessionEnded = `event: session_ended\ndata: ${JSON.stringify({ error: 'login_required' })}\n\n`;

/** The API's answer goes out as it comes in, at the pace of whoever takes it. */
export function passAnswer({ statusCode, headers, body }: Answer, res: Response): void {
  res.writeHead(statusCode, browserHeaders(headers, res.getHeader('Vary')));
  if (statusCode === 304 || statusCode === 204) {
    // A 304 may tell the length that a 200 would have (RFC 9110 8.6), which undici then misses in the body.
    body.on('error', () => undefined).resume();
    res.end();
    return;
  }
  // Not `pipeline`, which makes a DOMException for every answer that ends well; the caller's leaving is noticed elsewhere.
  body.on('error', () => res.destroy()); // an API that fails half-way leaves an answer that is cut, and looks it
  body.pipe(res);
}

/** Nobody wants this answer: its connection is of use again if it ends soon, else given up. Nobody waits for it. */
export function discard({ body }: Answer): void {
  body
    .dump({ limit: mostDiscardedBytes, signal: AbortSignal.timeout(longestDiscardMs) })
    .catch(() => undefined);
}

/** True for server-sent events, which go on until somebody leaves. */
export function isEventStream({ headers }: Answer): boolean {
  return /^text\/event-stream\b/i.test(String(headers['content-type'] ?? ''));
}

/** As `passAnswer`, for one that may go on for long: it begins at once, and ends when `open` says so. */
export function passStream(
  answer: Answer,
  res: Response,
  open: (end: Parameters<SessionStreams['open']>[1]) => () => void,
): void {
  const { body, headers } = answer;
  const mayEndWithEvent = isEventStream(answer) && headers['content-encoding'] === undefined;
  let tail = '\n\n';
  body.on('data', (chunk: Buffer) => {
    tail = (tail + chunk.subarray(-4).toString('latin1')).slice(-4);
  });
  passAnswer(answer, res);
  res.flushHeaders(); // the first event may be long in coming
  const forget = open((why) => {
    // Half an event, or half a file, must not look like a whole one.
    if (!mayEndWithEvent || !endOfEvent.test(tail)) return res.destroy();
    body.unpipe(res);
    body.removeAllListeners('error').on('error', () => undefined);
    res.end(why === 'session_ended' ? sessionEnded : undefined);
    setTimeout(() => res.destroy(), longestGoodbyeMs).unref(); // whoever does not read is not waited for
    body.destroy();
  });
  res.on('close', forget);
}
