import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Request, Response } from 'express';
import { WebSocket, WebSocketServer } from 'ws';
import { AppError } from '../errors.ts';
import type { TokenSource } from '../session/token-source.ts';
import type { CloseReason } from './open-streams.ts';
import { browserHeaders } from './proxy-headers.ts';
import { joinWebSockets } from './websocket-relay.ts';

// Compression would cost memory for every connection, and is the two ends' affair.
const options = { perMessageDeflate: false, maxPayload: 16 * 1024 * 1024 } as const;
const handshakeKey = /^[+/0-9A-Za-z]{22}==$/;

interface Forwarding {
  /** `http:` or `https:`, with the caller's query. */
  readonly url: URL;
  /** As `upstreamHeaders` makes them. */
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  /** How long the API may take for its part of the handshake. */
  readonly timeoutMs: number;
  readonly tokenSource?: TokenSource | undefined;
}

interface ForwardingInSession extends Forwarding {
  readonly tokenRefusedStatuses: readonly number[];
  /** As `OpenStreams.open`, for the session of this request. */
  readonly open: (end: (reason: CloseReason) => void) => () => void;
}

/**
 * Answers a request that has a `webSocketHandshake`: with the API's WebSocket, or with the API's refusal; when it refuses
 * the access token, that is replacement and the API asked once more. The token is looked at by the API in the handshake and
 * not again; the WebSocket ends with the session.
 * @throws AppError `invalid_request`, `upstream_unreachable`, `upstream_timeout`, and what renewing a token throws
 */
export async function forwardWebSocket(
  req: Request,
  res: Response,
  { open, tokenRefusedStatuses, ...forwarding }: ForwardingInSession,
): Promise<void> {
  const { tokenSource } = forwarding;
  try {
    let result = await connectWebSocket(req, res, forwarding);
    if (
      tokenSource?.replace &&
      !(result instanceof WebSocket) &&
      tokenRefusedStatuses.includes(result.statusCode ?? 0)
    ) {
      const replacement = await tokenSource.replace();
      if (replacement) {
        result.destroy();
        result = await connectWebSocket(req, res, { ...forwarding, tokenSource: replacement });
      }
    }
    if (result instanceof WebSocket) acceptWebSocket(req, res, result, open);
    else sendRejection(result, res, forwarding.timeoutMs);
  } catch (error) {
    if (!res.closed) throw error; // else nobody is there to be told
  }
}

/**
 * The API's WebSocket, which says nothing before it is resumed, or the API's result if that is another one; given up when
 * the caller leaves.
 * @throws AppError `invalid_request`, `upstream_unreachable`, `upstream_timeout`
 */
function connectWebSocket(
  req: Request,
  res: Response,
  { url, headers, timeoutMs, tokenSource }: Forwarding,
): Promise<WebSocket | IncomingMessage> {
  const credential = tokenSource && { authorization: `Bearer ${tokenSource.accessToken}` };
  const upstream = openUpstreamSocket(req, res, url, { ...headers, ...credential });
  return new Promise((resolve, reject) => {
    let failure: AppError | undefined;
    const giveUp = () => upstream.terminate();
    const timer = setTimeout(() => {
      failure = new AppError('upstream_timeout');
      giveUp();
    }, timeoutMs);
    function stopWaiting(): void {
      clearTimeout(timer);
      res.off('close', giveUp);
    }
    res.once('close', giveUp);
    upstream.on('error', (error) => {
      stopWaiting();
      reject(failure ?? new AppError('upstream_unreachable', { cause: error }));
    });
    upstream.once('open', () => {
      upstream.pause();
      stopWaiting();
      resolve(upstream);
    });
    upstream.once('unexpected-response', (_request, result) => {
      stopWaiting();
      resolve(result);
    });
  });
}

function openUpstreamSocket(
  req: Request,
  res: Response,
  url: URL,
  headers: Forwarding['headers'],
): WebSocket {
  const { 'sec-websocket-key': key, 'sec-websocket-version': version } = req.headers;
  const protocols = req.headers['sec-websocket-protocol']?.split(',').map((each) => each.trim());
  function finishRequest(request: ClientRequest): void {
    for (const [name, value] of Object.entries(headers)) request.setHeader(name, value);
    request.end();
  }
  try {
    if (version !== '13' || !handshakeKey.test(key ?? '')) throw new Error('not a handshake of RFC 6455');
    return new WebSocket(url, protocols ?? [], { ...options, finishRequest });
  } catch (error) {
    res.setHeader('Sec-WebSocket-Version', '13'); // RFC 6455 4.4
    throw new AppError('invalid_request', { cause: error });
  }
}

/** Finishes the caller's handshake and joins the two; `upstream` ends with the session, or with the caller. */
function acceptWebSocket(
  req: Request,
  res: Response,
  upstream: WebSocket,
  open: ForwardingInSession['open'],
): void {
  if (!req.webSocketHandshake || res.closed) {
    upstream.terminate();
    return;
  }
  const { socket, head } = req.webSocketHandshake.detachSocket();
  const terminate = () => upstream.terminate();
  socket.once('close', terminate);
  res.statusCode = 101; // for the log
  const selectUpstreamProtocol = () => upstream.protocol || false;
  const server = new WebSocketServer({
    ...options,
    noServer: true,
    clientTracking: false,
    handleProtocols: selectUpstreamProtocol,
  });
  server.once('headers', (headers) => headers.push(`X-Request-Id: ${req.id}`));
  server.handleUpgrade(req, socket, head, (client) => {
    socket.off('close', terminate);
    const forget = open(joinWebSockets(client, upstream));
    client.once('close', forget);
    upstream.resume();
  });
}

function sendRejection(result: IncomingMessage, res: Response, timeoutMs: number): void {
  res.on('close', () => result.destroy());
  result.on('error', () => res.destroy());
  result.setTimeout(timeoutMs, () => result.destroy(new Error('the API was silent for too long')));
  res.writeHead(result.statusCode ?? 502, browserHeaders(result.headers));
  result.pipe(res);
}
