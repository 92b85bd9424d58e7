import http from 'node:http';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export interface HttpResponse {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });

/** One request with exactly these headers (and `Host`), on connections kept from call to call. */
export function sendRequest(
  origin: string,
  method: string,
  path: string,
  headers: Readonly<Record<string, string | readonly string[]>> = {},
): Promise<HttpResponse> {
  const { hostname, port } = new URL(origin);
  return new Promise((resolve, reject) => {
    const request = http.request(
      { hostname, port, path, method, headers: { ...headers } as http.OutgoingHttpHeaders, agent },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
        });
      },
    );
    request.on('error', reject);
    request.end();
  });
}

/** What a raw exchange came to: everything received until the server closed the connection. */
export interface RawResponse {
  /** The status of each answer on the connection, 1xx included. */
  readonly statuses: readonly number[];
  readonly text: string;
}

/**
 * Writes `parts` as they are, byte for byte, and reads until the server closes: say `Connection: close` in the last
 * request. `hangUp` closes our side behind the last byte. A connection that is reset counts as closed.
 */
export function sendRaw(
  origin: string,
  parts: readonly (string | Buffer)[],
  { hangUp = false } = {},
): Promise<RawResponse> {
  const { port } = new URL(origin);
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = connect({ port: Number(port), host: '127.0.0.1' });
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', () => undefined); // 'close' follows, and what came before it counts
    socket.on('close', () => {
      const text = Buffer.concat(chunks).toString('latin1');
      const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
      resolve({ statuses, text });
    });
    for (const part of parts) socket.write(part);
    if (hangUp) socket.end();
  });
}

/** A request's head as bytes on the wire; `headers` are whole lines. */
export function formatHead(requestLine: string, headers: readonly string[]): Buffer {
  return Buffer.from([`${requestLine} HTTP/1.1`, ...headers, '', ''].join('\r\n'), 'latin1');
}

/** Settles when `isSo`, asked again and again; rejects after two seconds. */
export async function waitUntil(isSo: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 2_000; !isSo(); await delay(5))
    if (Date.now() > deadline) throw new Error(`not within two seconds: ${isSo}`);
}
