import type { Response } from 'express';
import type { Dispatcher } from 'undici';
import type { OpenStreams } from './open-streams.ts';
import { browserHeaders } from './proxy-headers.ts';

type UpstreamResponse = Dispatcher.ResponseData;

const maxDrainedBytes = 131_072;
const drainTimeoutMs = 500;
const endOfEvent = /(\n\n|\r\r|\r\n\r\n)$/;
const closeTimeoutMs = 500;
const sessionEndedEvent = `event: session_ended\ndata: ${JSON.stringify({ error: 'login_required' })}\n\n`;

/** The API's response goes out as it comes in, at the pace of whoever takes it. */
export function sendResponse({ statusCode, headers, body }: UpstreamResponse, res: Response): void {
  res.writeHead(statusCode, browserHeaders(headers, res.getHeader('Vary')));
  if (statusCode === 304 || statusCode === 204) {
    // A 304 may tell the length that a 200 would have (RFC 9110 8.6), which undici then misses in the body.
    body.on('error', () => undefined).resume();
    res.end();
    return;
  }
  // Not `pipeline`, which makes a DOMException for every response that ends well; the caller's leaving is noticed elsewhere.
  body.on('error', () => res.destroy()); // an API that fails half-way leaves an response that is cut, and looks it
  body.pipe(res);
}

/** Nobody wants this response: its connection is of use again if it ends soon, else given up. Nobody waits for it. */
export function drainResponse({ body }: UpstreamResponse): void {
  body.dump({ limit: maxDrainedBytes, signal: AbortSignal.timeout(drainTimeoutMs) }).catch(() => undefined);
}

/** True for server-sent events, which go on until somebody leaves. */
export function isEventStream({ headers }: UpstreamResponse): boolean {
  return /^text\/event-stream\b/i.test(String(headers['content-type'] ?? ''));
}

/** As `sendResponse`, for one that may go on for long: it begins at once, and ends when `open` says so. */
export function streamResponse(
  response: UpstreamResponse,
  res: Response,
  open: (end: Parameters<OpenStreams['open']>[1]) => () => void,
): void {
  const { body, headers } = response;
  const mayEndWithEvent = isEventStream(response) && headers['content-encoding'] === undefined;
  let tail = '\n\n';
  body.on('data', (chunk: Buffer) => {
    tail = (tail + chunk.subarray(-4).toString('latin1')).slice(-4);
  });
  sendResponse(response, res);
  res.flushHeaders(); // the first event may be long in coming
  const forget = open((reason) => {
    // Half an event, or half a file, must not look like a whole one.
    if (!mayEndWithEvent || !endOfEvent.test(tail)) return res.destroy();
    body.unpipe(res);
    body.removeAllListeners('error').on('error', () => undefined);
    res.end(reason === 'session_ended' ? sessionEndedEvent : undefined);
    setTimeout(() => res.destroy(), closeTimeoutMs).unref(); // whoever does not read is not waited for
    body.destroy();
  });
  res.on('close', forget);
}
