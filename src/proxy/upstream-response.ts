import type { Response } from 'express';
import { type BrowserHeadersBuilder, buildBrowserHeaders } from './response-headers.ts';
import type { UpstreamResponse } from './upstream/exchange.ts';

/** The maximum size of the last part of a body that is copied into a string. */
const maxJoinedBytes = 16_384;

/** Sends the API's response to the client, as fast as the client reads it. */
export function sendResponse(
  response: UpstreamResponse,
  res: Response,
  buildHeaders: BrowserHeadersBuilder = buildBrowserHeaders,
): void {
  res.writeHead(response.statusCode, buildHeaders(response, res));
  sendBody(response, res, () => {});
}

/**
 * Sends the rest of a response as fast as the client reads it.
 * @param onChunk called with each part of the body before it is sent
 */
export function sendBody(
  { statusCode, body }: Pick<UpstreamResponse, 'statusCode' | 'body'>,
  res: Response,
  onChunk: (chunk: Buffer) => void,
): void {
  if (statusCode === 304 || statusCode === 204) {
    // A 304 may state the length of the 200 (RFC 9110 8.6); undici then reports an incomplete body.
    body.discard();
    res.end();
    return;
  }
  let isWaiting = false;
  body.sendTo({
    write(chunk) {
      if (res.destroyed) return true; // the client has disconnected, and forward-to.ts aborts the call
      onChunk(chunk);
      if (res.write(chunk)) return true;
      if (!isWaiting)
        res.once('drain', () => {
          isWaiting = false;
          body.resume();
        });
      isWaiting = true;
      return false;
    },
    end(last) {
      if (last) onChunk(last);
      if (res.destroyed) return;
      // Node.js writes a string together with the headers, but a Buffer separately.
      if (last && last.length <= maxJoinedBytes) res.end(last.toString('latin1'), 'latin1');
      else res.end(last);
    },
    fail: () => res.destroy(), // an incomplete response must not look complete
  });
}
