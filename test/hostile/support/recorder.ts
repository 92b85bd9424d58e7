import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request as received by the API, with every header line unmerged. */
export interface RecordedRequest {
  readonly method: string;
  readonly target: string;
  /** Lower-case names and values in their order; a repeated header has several entries. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Settles when the body is complete or the connection has closed. */
  readonly body: Promise<{ readonly bytes: number; readonly isWhole: boolean; readonly text: string }>;
}

export interface Recorder {
  readonly url: string;
  readonly host: string;
  readonly requests: RecordedRequest[];
  /**
   * Sets the response to the next requests: raw bytes, after which the connection closes, or a request handler;
   * `undefined` restores the default, a small JSON body after the request is complete.
   */
  respondWith(response: string | Buffer | Responder | undefined): void;
  close(): Promise<void>;
}

type Responder = (req: IncomingMessage, res: ServerResponse) => void;

/** Starts an API that records its requests and responds, byte for byte, with what the test sets. */
export async function startRecorder(): Promise<Recorder> {
  const requests: RecordedRequest[] = [];
  let response: string | Buffer | Responder | undefined;

  const server = createServer({ maxHeaderSize: 65_536 }, (req, res) => {
    requests.push({
      method: req.method ?? '',
      target: req.url ?? '',
      headers: toPairs(req.rawHeaders),
      body: readBody(req),
    });
    if (typeof response === 'function') response(req, res);
    else if (response !== undefined) req.socket.end(response);
    else
      req.on('end', () => {
        res.writeHead(req.method === 'POST' ? 201 : 200, { 'content-type': 'application/json' });
        res.end('{"recorded":true}');
      });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: `http://${host}`,
    host,
    requests,
    respondWith(next) {
      response = next;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

function toPairs(raw: readonly string[]): [string, string][] {
  return raw.flatMap((name, index) =>
    index % 2 === 0 ? [[name.toLowerCase(), raw[index + 1]!] as [string, string]] : [],
  );
}

function readBody(req: IncomingMessage): RecordedRequest['body'] {
  return new Promise((resolve) => {
    let bytes = 0;
    let text = '';
    req.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (text.length < 1_000) text += chunk.toString('latin1').slice(0, 1_000);
    });
    req.on('error', () => undefined); // 'close' follows
    req.on('close', () => resolve({ bytes, isWhole: req.complete, text }));
  });
}
