import { createHash, randomBytes } from 'node:crypto';
import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { Request, Response } from 'express';
import { AppError } from '../../errors.ts';
import type { TokenSource } from '../../session/token-source.ts';
import type { RegisterStream } from '../open-streams.ts';
import { type BrowserHeadersBuilder, buildBrowserHeaders } from '../response-headers.ts';
import { createTimeoutError, toAppError } from '../upstream/errors.ts';
import { lookupLocalhost } from '../upstream/localhost.ts';
import type { UpstreamMeasure } from '../upstream/measure.ts';
import { joinWebSockets } from './relay.ts';

const handshakeKeyPattern = /^[+/0-9A-Za-z]{22}==$/;
const protocolPattern = /^[!#$%&'*+\-.^_`|~\dA-Za-z]+$/;
/** RFC 6455 1.3. */
const acceptSuffix = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

interface ConnectOptions {
  /** `http:` or `https:`, including the query. */
  readonly url: URL;
  /** As `createUpstreamHeadersBuilder` builds them. */
  readonly headers: Record<string, string | string[]>;
  /** How long the API may take to complete the handshake. */
  readonly timeoutMs: number;
  readonly tokenSource?: TokenSource | undefined;
}

interface ForwardOptions extends ConnectOptions {
  /** The row of the route table. */
  readonly server: { readonly origin: string; readonly path?: string };
  /** Counts and times each handshake with the API. */
  readonly measure: UpstreamMeasure;
  readonly tokenRefusedStatuses: readonly number[];
  readonly registerStream: RegisterStream;
  /** Changes the headers of the API's rejection for our origin. */
  readonly mapRejection: (headers: IncomingHttpHeaders) => void;
  readonly buildHeaders?: BrowserHeadersBuilder;
}

/** What the client offers. Extensions are not passed on: frames are relayed unchanged, without knowing any. */
interface ClientHandshake {
  readonly key: string;
  readonly protocols: readonly string[];
}

/** The connection to the API's WebSocket. */
interface UpstreamSocket {
  readonly statusCode: 101;
  readonly socket: Socket;
  readonly protocol: string | undefined;
}

type UpstreamResult = UpstreamSocket | { readonly statusCode: number; readonly rejection: IncomingMessage };

/**
 * Connects a request that has a `webSocketHandshake` to the API's WebSocket, or sends the API's rejection. When the API
 * rejects the access token, the token is replaced and the handshake is repeated once. The API checks the token during
 * the handshake only; the WebSocket is closed when the session ends.
 * @throws AppError `invalid_request`, `upstream_unreachable`, `upstream_timeout`, and what `TokenSource.replace` throws
 */
export async function forwardWebSocket(
  req: Request,
  res: Response,
  { server, measure, registerStream, tokenRefusedStatuses, mapRejection, ...options }: ForwardOptions,
): Promise<void> {
  const { tokenSource, headers } = options;
  const handshake = readHandshake(req, res);
  const abort = {
    get aborted() {
      return res.closed;
    },
  };
  const connect = (source: TokenSource | undefined) =>
    measure({ server, method: 'GET', headers, abort }, () =>
      connectWebSocket(handshake, res, { ...options, tokenSource: source }),
    );
  try {
    let result = await connect(tokenSource);
    if (tokenSource?.replace && 'rejection' in result && tokenRefusedStatuses.includes(result.statusCode)) {
      const replacement = await tokenSource.replace();
      if (replacement) {
        result.rejection.destroy();
        result = await connect(replacement);
      }
    }
    if ('rejection' in result) {
      mapRejection(result.rejection.headers);
      sendRejection(result.rejection, res, options);
    } else acceptWebSocket(req, res, handshake, result, registerStream);
  } catch (error) {
    if (!res.closed) throw toAppError(error); // otherwise no client is left to receive the error
  }
}

/** @throws AppError `invalid_request`, `upgrade_required` */
function readHandshake(req: Request, res: Response): ClientHandshake {
  const { 'sec-websocket-key': key = '', 'sec-websocket-version': version } = req.headers;
  const protocols = req.headers['sec-websocket-protocol']?.split(',').map((each) => each.trim()) ?? [];
  if (version !== '13') {
    res.setHeader('Sec-WebSocket-Version', '13'); // RFC 6455 4.4
    throw new AppError('upgrade_required', { cause: new Error('not version 13 of the WebSocket protocol') });
  }
  const isValid =
    handshakeKeyPattern.test(key) &&
    protocols.every((each) => protocolPattern.test(each)) &&
    new Set(protocols).size === protocols.length;
  if (isValid) return { key, protocols };
  res.setHeader('Sec-WebSocket-Version', '13'); // RFC 6455 4.4
  throw new AppError('invalid_request', { cause: new Error('invalid WebSocket handshake (RFC 6455)') });
}

/**
 * The API's WebSocket, of which nothing was read, or the API's response if it rejects the handshake. Aborted when the client
 * disconnects.
 * @throws an error for `toAppError`
 */
function connectWebSocket(
  { protocols }: ClientHandshake,
  res: Response,
  { url, headers, timeoutMs, tokenSource }: ConnectOptions,
): Promise<UpstreamResult> {
  const key = randomBytes(16).toString('base64');
  const request = (url.protocol === 'https:' ? https : http).request(url, {
    agent: false,
    lookup: lookupLocalhost,
    headers: {
      ...headers,
      ...(tokenSource && { authorization: `Bearer ${tokenSource.accessToken}` }),
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': key,
      ...(protocols.length > 0 && { 'sec-websocket-protocol': protocols.join(',') }),
    },
  });
  return new Promise((resolve, reject) => {
    let timeout: Error | undefined;
    const abort = () => request.destroy(new Error('WebSocket handshake aborted'));
    const timer = setTimeout(() => {
      timeout = createTimeoutError();
      abort();
    }, timeoutMs);
    function cleanUp(): void {
      clearTimeout(timer);
      res.off('close', abort);
    }
    res.once('close', abort);
    request.on('error', (error) => {
      cleanUp();
      reject(timeout ?? error);
    });
    request.once('response', (rejection) => {
      cleanUp();
      const { statusCode = 0 } = rejection;
      if (statusCode < 200) {
        rejection.destroy();
        reject(new Error('the API responded with a status that is none'));
        return;
      }
      resolve({ statusCode, rejection });
    });
    request.once('upgrade', (response, socket, head) => {
      cleanUp();
      socket.on('error', () => socket.destroy());
      const problem = findProblem(response, key, protocols);
      if (problem !== undefined) {
        socket.destroy();
        reject(new Error(problem));
        return;
      }
      if (head.length > 0) socket.unshift(head);
      resolve({ statusCode: 101, socket, protocol: response.headers['sec-websocket-protocol'] });
    });
    request.end();
  });
}

/** What is wrong with the API's 101 response (RFC 6455 4.1). */
function findProblem(
  { headers }: IncomingMessage,
  key: string,
  protocols: readonly string[],
): string | undefined {
  if (headers.upgrade?.toLowerCase() !== 'websocket') return 'the API upgraded to another protocol';
  if (headers['sec-websocket-accept'] !== acceptKey(key)) return 'the API sent a wrong Sec-WebSocket-Accept';
  if (headers['sec-websocket-extensions'] !== undefined)
    return 'the API selected an extension that was not offered';
  const protocol = headers['sec-websocket-protocol'];
  return protocol === undefined || protocols.includes(protocol)
    ? undefined
    : 'the API selected a subprotocol that was not offered';
}

function acceptKey(key: string): string {
  return createHash('sha1').update(`${key}${acceptSuffix}`).digest('base64');
}

/** Completes the client's handshake and relays frames until a peer disconnects or the session ends. */
function acceptWebSocket(
  req: Request,
  res: Response,
  { key }: ClientHandshake,
  { socket: upstream, protocol }: UpstreamSocket,
  registerStream: RegisterStream,
): void {
  if (!req.webSocketHandshake || res.closed) {
    upstream.destroy();
    return;
  }
  const { socket: client, head } = req.webSocketHandshake.detachSocket();
  res.statusCode = 101; // for the log
  const lines = [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${acceptKey(key)}`,
    ...(protocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${protocol}`]),
    `X-Request-Id: ${req.id}`,
  ];
  for (const each of [client, upstream]) each.setTimeout(0).setNoDelay(true);
  client.write(`${lines.join('\r\n')}\r\n\r\n`);
  if (head.length > 0) client.unshift(head);
  const unregister = registerStream(joinWebSockets(client, upstream));
  client.once('close', unregister);
}

function sendRejection(
  response: IncomingMessage,
  res: Response,
  { timeoutMs, buildHeaders = buildBrowserHeaders }: Pick<ForwardOptions, 'timeoutMs' | 'buildHeaders'>,
): void {
  res.on('close', () => response.destroy());
  response.on('error', () => res.destroy());
  response.setTimeout(timeoutMs, () => response.destroy(new Error('upstream idle timeout')));
  res.writeHead(response.statusCode ?? 502, buildHeaders(response, res));
  response.pipe(res);
}
