import type { OutgoingHttpHeaders } from 'node:http';
import type { Response } from 'express';
import type { Dispatcher } from 'undici';
import { toReasonCode } from '../session/session-end-reason.ts';
import type { EndedBy } from '../tokens/token-store.ts';
import type { RegisterStream } from './open-streams.ts';
import { buildBrowserHeaders } from './proxy-headers.ts';

/** An API's response, its body not yet read. */
export type UpstreamResponse = Dispatcher.ResponseData;

const maxDrainedBytes = 131_072;
const drainTimeoutMs = 500;
const endOfEvent = /(\n\n|\r\r|\r\n\r\n)$/;
const closeTimeoutMs = 500;

/** Streams the API's response to the client, as fast as the client reads it. */
export function sendResponse(
  { statusCode, headers, body }: UpstreamResponse,
  res: Response,
  extraHeaders: OutgoingHttpHeaders = {},
): void {
  res.writeHead(statusCode, { ...buildBrowserHeaders(headers, res), ...extraHeaders });
  if (statusCode === 304 || statusCode === 204) {
    // A 304 may state the length of the 200 (RFC 9110 8.6); undici then reports an incomplete body.
    body.on('error', () => undefined).resume();
    res.end();
    return;
  }
  // Not `pipeline`: it creates a DOMException for every successful response. forward-to.ts handles client disconnects.
  body.on('error', () => res.destroy()); // an incomplete response must not look complete
  body.pipe(res);
}

/** Drains an unused response in the background so that its connection can be reused; aborts after 128 KiB or 500 ms. */
export function drainResponse({ body }: UpstreamResponse): void {
  body.dump({ limit: maxDrainedBytes, signal: AbortSignal.timeout(drainTimeoutMs) }).catch(() => undefined);
}

/** True for server-sent events. */
export function isEventStream({ headers }: UpstreamResponse): boolean {
  return /^text\/event-stream\b/i.test(String(headers['content-type'] ?? ''));
}

/** As `sendResponse`, for a long-lived response: sends the headers immediately, and closes it when its session ends. */
export function streamResponse(
  response: UpstreamResponse,
  res: Response,
  registerStream: RegisterStream,
): void {
  const { body, headers } = response;
  const canAppendEvent = isEventStream(response) && headers['content-encoding'] === undefined;
  let tail = '\n\n';
  body.on('data', (chunk: Buffer) => {
    tail = (tail + chunk.subarray(-4).toString('latin1')).slice(-4);
  });
  // nginx would collect the events until its buffers are full or the response ends.
  sendResponse(response, res, { 'x-accel-buffering': 'no' });
  res.flushHeaders(); // the first event may come much later
  const unregister = registerStream((reason, by) => {
    // An incomplete event or file must not look complete.
    if (!canAppendEvent || !endOfEvent.test(tail)) return res.destroy();
    body.unpipe(res);
    body.removeAllListeners('error').on('error', () => undefined);
    res.end(reason === 'session_ended' ? createSessionEndedEvent(by) : undefined);
    setTimeout(() => res.destroy(), closeTimeoutMs).unref(); // a client that does not read cannot delay the end
    body.destroy();
  });
  res.on('close', unregister);
}

/** The last event of a stream, in the words of the error that the next request gets. */
function createSessionEndedEvent(by: EndedBy | undefined): string {
  const data = { error: 'login_required', ...(by && { reason: toReasonCode(by) }) };
  return `event: session_ended\ndata: ${JSON.stringify(data)}\n\n`;
}
