import type { OutgoingHttpHeader } from 'node:http';
import type { Response } from 'express';
import { onResponseClosed } from '../response-closed.ts';
import { toReasonCode } from '../session/visitor-of-error.ts';
import type { EndedBy } from '../tokens/token-store.ts';
import type { RegisterStream } from './open-streams.ts';
import { type BrowserHeadersBuilder, buildBrowserHeaders } from './response-headers.ts';
import type { UpstreamResponse } from './upstream/exchange.ts';
import { sendBody } from './upstream-response.ts';

const endOfEvent = /(\n\n|\r\r|\r\n\r\n)$/;
const closeTimeoutMs = 500;

/** True for server-sent events. */
export function isEventStream({ headers }: UpstreamResponse): boolean {
  return /^text\/event-stream\b/i.test(String(headers['content-type'] ?? ''));
}

/** As `sendResponse`, for a long-lived response: sends the headers immediately, and closes it when its session ends. */
export function streamResponse(
  response: UpstreamResponse,
  res: Response,
  registerStream: RegisterStream,
  buildHeaders: BrowserHeadersBuilder = buildBrowserHeaders,
): void {
  const { statusCode, body, headers } = response;
  const canAppendEvent = isEventStream(response) && headers['content-encoding'] === undefined;
  let tail = '\n\n';
  // nginx would collect the events until its buffers are full or the response ends.
  const { 'x-accel-buffering': _, ...others } = headers;
  const sent = forbidTransformation(buildHeaders({ statusCode, headers: others }, res));
  res.writeHead(statusCode, [...sent, 'x-accel-buffering', 'no']);
  // The first event may come much later. `flushHeaders` would encode the headers as UTF-8, which they are already.
  res.write('', 'latin1');
  sendBody(response, res, (chunk) => {
    tail = (tail + chunk.subarray(-4).toString('latin1')).slice(-4);
  });
  const unregister = registerStream((reason, by) => {
    // An incomplete event or file must not look complete.
    if (!canAppendEvent || !endOfEvent.test(tail)) return res.destroy();
    body.destroy();
    res.end(reason === 'session_ended' ? createSessionEndedEvent(by) : undefined);
    setTimeout(() => res.destroy(), closeTimeoutMs).unref(); // a client that does not read cannot delay the end
  });
  onResponseClosed(res, unregister);
}

/** Whoever compresses the response would collect what is sent: `compression()` of an app around Latchkey, some proxies and CDNs. */
function forbidTransformation(sent: OutgoingHttpHeader[]): OutgoingHttpHeader[] {
  const index = sent.findIndex((each, at) => at % 2 === 0 && String(each).toLowerCase() === 'cache-control');
  if (index < 0) return [...sent, 'cache-control', 'no-transform'];
  return sent.with(index + 1, `${sent[index + 1]}, no-transform`);
}

/** The last event of a stream, in the words of the error that the next request gets. */
function createSessionEndedEvent(by: EndedBy | undefined): string {
  const data = { error: 'login_required', ...(by && { reason: toReasonCode(by) }) };
  return `event: session_ended\ndata: ${JSON.stringify(data)}\n\n`;
}
