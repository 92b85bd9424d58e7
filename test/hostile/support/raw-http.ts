import http from 'node:http';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export interface HttpResponse {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });

/** Sends a request with exactly these headers (and `Host`), on keep-alive connections. */
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

/** Everything received on a connection until the server closed it. */
export interface RawResponse {
  /** The status of each response on the connection, including 1xx. */
  readonly statuses: readonly number[];
  readonly text: string;
}

/**
 * Writes `parts` byte for byte and reads until the server closes the connection, so the last request needs
 * `Connection: close`. With `hangUp`, our side closes after the last byte; with `readLate`, it reads only after it has written
 * everything. A connection reset counts as closed.
 */
export function sendRaw(
  origin: string,
  parts: readonly (string | Buffer)[],
  { hangUp = false, readLate = false } = {},
): Promise<RawResponse> {
  const { port } = new URL(origin);
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = connect({ port: Number(port), host: '127.0.0.1' });
    const read = () => socket.on('data', (chunk) => chunks.push(chunk));
    if (!readLate) read();
    socket.on('error', () => undefined); // 'close' follows, and the bytes received before count
    socket.on('close', () => {
      const text = Buffer.concat(chunks).toString('latin1');
      const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
      resolve({ statuses, text });
    });
    for (const part of parts) socket.write(part);
    if (readLate) socket.write('', read);
    if (hangUp) socket.end();
  });
}

/** The request line and the header lines as bytes on the wire; `headers` are complete lines. */
export function formatHead(requestLine: string, headers: readonly string[]): Buffer {
  return Buffer.from([`${requestLine} HTTP/1.1`, ...headers, '', ''].join('\r\n'), 'latin1');
}

/** Polls `condition` until it is true; rejects after two seconds. */
export async function waitUntil(condition: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 10_000; !condition(); await delay(5))
    if (Date.now() > deadline) throw new Error(`not within ten seconds: ${condition}`);
}
