import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Request, Response } from 'express';
import { WebSocket, WebSocketServer } from 'ws';
import { AppError } from '../errors.ts';
import type { TokenSource } from '../session/token-source.ts';
import type { RegisterStream } from './open-streams.ts';
import { buildBrowserHeaders } from './proxy-headers.ts';
import { joinWebSockets } from './websocket-relay.ts';

// Compression would need memory for every connection, and the two peers can compress their messages themselves.
const socketOptions = { perMessageDeflate: false, maxPayload: 16 * 1024 * 1024 } as const;
const handshakeKeyPattern = /^[+/0-9A-Za-z]{22}==$/;

interface ConnectOptions {
  /** `http:` or `https:`, including the query. */
  readonly url: URL;
  /** As `buildUpstreamHeaders` returns them. */
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  /** How long the API may take to complete the handshake. */
  readonly timeoutMs: number;
  readonly tokenSource?: TokenSource | undefined;
}

interface ForwardOptions extends ConnectOptions {
  readonly tokenRefusedStatuses: readonly number[];
  readonly registerStream: RegisterStream;
}

/**
 * Connects a request that has a `webSocketHandshake` to the API's WebSocket, or sends the API's rejection. When the API
 * rejects the access token, the token is replaced and the handshake is repeated once. The API checks the token during
 * the handshake only; the WebSocket is closed when the session ends.
 * @throws AppError `invalid_request`, `upstream_unreachable`, `upstream_timeout`, and what `TokenSource.replace` throws
 */
export async function forwardWebSocket(
  req: Request,
  res: Response,
  { registerStream, tokenRefusedStatuses, ...options }: ForwardOptions,
): Promise<void> {
  const { tokenSource } = options;
  try {
    let result = await connectWebSocket(req, res, options);
    if (
      tokenSource?.replace &&
      !(result instanceof WebSocket) &&
      tokenRefusedStatuses.includes(result.statusCode ?? 0)
    ) {
      const replacement = await tokenSource.replace();
      if (replacement) {
        result.destroy();
        result = await connectWebSocket(req, res, { ...options, tokenSource: replacement });
      }
    }
    if (result instanceof WebSocket) acceptWebSocket(req, res, result, registerStream);
    else sendRejection(result, res, options.timeoutMs);
  } catch (error) {
    if (!res.closed) throw error; // otherwise no client is left to receive the error
  }
}

/**
 * The API's WebSocket, paused, or the API's response if it rejects the handshake. Aborted when the client disconnects.
 * @throws AppError `invalid_request`, `upstream_unreachable`, `upstream_timeout`
 */
function connectWebSocket(
  req: Request,
  res: Response,
  { url, headers, timeoutMs, tokenSource }: ConnectOptions,
): Promise<WebSocket | IncomingMessage> {
  const credential = tokenSource && { authorization: `Bearer ${tokenSource.accessToken}` };
  const upstream = openUpstreamSocket(req, res, url, { ...headers, ...credential });
  return new Promise((resolve, reject) => {
    let failure: AppError | undefined;
    const terminate = () => upstream.terminate();
    const timer = setTimeout(() => {
      failure = new AppError('upstream_timeout');
      terminate();
    }, timeoutMs);
    function cleanUp(): void {
      clearTimeout(timer);
      res.off('close', terminate);
    }
    res.once('close', terminate);
    upstream.on('error', (error) => {
      cleanUp();
      reject(failure ?? new AppError('upstream_unreachable', { cause: error }));
    });
    upstream.once('open', () => {
      upstream.pause();
      cleanUp();
      resolve(upstream);
    });
    upstream.once('unexpected-response', (_request, response) => {
      cleanUp();
      resolve(response);
    });
  });
}

function openUpstreamSocket(
  req: Request,
  res: Response,
  url: URL,
  headers: ConnectOptions['headers'],
): WebSocket {
  const { 'sec-websocket-key': key, 'sec-websocket-version': version } = req.headers;
  const protocols = req.headers['sec-websocket-protocol']?.split(',').map((each) => each.trim());
  function finishRequest(request: ClientRequest): void {
    for (const [name, value] of Object.entries(headers)) request.setHeader(name, value);
    request.end();
  }
  if (version !== '13') {
    res.setHeader('Sec-WebSocket-Version', '13'); // RFC 6455 4.4
    throw new AppError('upgrade_required', { cause: new Error('not version 13 of the WebSocket protocol') });
  }
  try {
    if (!handshakeKeyPattern.test(key ?? '')) throw new Error('invalid WebSocket handshake (RFC 6455)');
    return new WebSocket(url, protocols ?? [], { ...socketOptions, finishRequest });
  } catch (error) {
    res.setHeader('Sec-WebSocket-Version', '13'); // RFC 6455 4.4
    throw new AppError('invalid_request', { cause: error });
  }
}

/** Completes the client's handshake and relays messages until a peer disconnects or the session ends. */
function acceptWebSocket(
  req: Request,
  res: Response,
  upstream: WebSocket,
  registerStream: RegisterStream,
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
    ...socketOptions,
    noServer: true,
    clientTracking: false,
    handleProtocols: selectUpstreamProtocol,
  });
  server.once('headers', (headers) => headers.push(`X-Request-Id: ${req.id}`));
  server.handleUpgrade(req, socket, head, (client) => {
    socket.off('close', terminate);
    const unregister = registerStream(joinWebSockets(client, upstream));
    client.once('close', unregister);
    upstream.resume();
  });
}

function sendRejection(response: IncomingMessage, res: Response, timeoutMs: number): void {
  res.on('close', () => response.destroy());
  response.on('error', () => res.destroy());
  response.setTimeout(timeoutMs, () => response.destroy(new Error('upstream idle timeout')));
  res.writeHead(response.statusCode ?? 502, buildBrowserHeaders(response.headers));
  response.pipe(res);
}
