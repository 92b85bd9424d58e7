import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One request as it arrived at the API, nothing joined, nothing left out. */
export interface RecordedRequest {
  readonly method: string;
  readonly target: string;
  /** Lower-case names with their values, in order, each occurrence by itself. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Settles when the body is there or was cut off. */
  readonly body: Promise<{ readonly bytes: number; readonly isWhole: boolean; readonly text: string }>;
}

export interface Recorder {
  readonly url: string;
  readonly host: string;
  readonly requests: RecordedRequest[];
  /**
   * What is answered from now on: bytes for the wire, after which the connection is closed, or a function; unless
   * told, a small JSON body once the request is there.
   */
  respondWith(response: string | Buffer | Responder | undefined): void;
  close(): Promise<void>;
}

type Responder = (req: IncomingMessage, res: ServerResponse) => void;

/** An API that writes down what it is sent and answers, byte for byte, what it is told to. */
export async function startRecorder(): Promise<Recorder> {
  const requests: RecordedRequest[] = [];
  let response: string | Buffer | Responder | undefined;

  const server = createServer({ maxHeaderSize: 65_536 }, (req, res) => {
    requests.push({
      method: req.method ?? '',
      target: req.url ?? '',
      headers: pairs(req.rawHeaders),
      body: bodyOf(req),
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

function pairs(raw: readonly string[]): [string, string][] {
  return raw.flatMap((name, at) =>
    at % 2 === 0 ? [[name.toLowerCase(), raw[at + 1]!] as [string, string]] : [],
  );
}

function bodyOf(req: IncomingMessage): RecordedRequest['body'] {
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
