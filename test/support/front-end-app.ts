import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';

/** An app or development server of the front end. */
export interface FrontEndApp {
  readonly origin: string;
  readonly requests: IncomingMessage[];
  readonly sockets: WebSocket[];
  /** What it does with each request; by default, it sends a page with the path. */
  respondWith(listener: RequestListener | undefined): void;
  stop(): Promise<void>;
  /** On the port that it had. */
  start(): Promise<void>;
}

export async function startFrontEndApp(): Promise<FrontEndApp> {
  const requests: IncomingMessage[] = [];
  const sockets: WebSocket[] = [];
  let respond: RequestListener | undefined;
  let server: Server;
  let port = 0;

  async function start(): Promise<void> {
    const webSockets = new WebSocketServer({
      noServer: true,
      handleProtocols: (offered) => [...offered][0] ?? false,
    });
    server = createServer((req, res) => {
      requests.push(req);
      if (respond) respond(req, res);
      else res.setHeader('content-type', 'text/html').end(`<title>The app</title>${req.url}`);
    });
    server.on('upgrade', (req, socket, head) => {
      requests.push(req);
      webSockets.handleUpgrade(req, socket, head, (each) => {
        sockets.push(each);
        each.on('message', (data, isBinary) => each.send(data, { binary: isBinary }));
        each.send(JSON.stringify({ type: 'connected' }));
      });
    });
    await new Promise<void>((resolve) => {
      server.listen(port, '127.0.0.1', resolve);
    });
    port = (server.address() as AddressInfo).port;
  }

  await start();
  return {
    origin: `http://localhost:${port}`,
    requests,
    sockets,
    respondWith(listener) {
      respond = listener;
    },
    start,
    async stop() {
      for (const each of sockets.splice(0)) each.terminate();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
