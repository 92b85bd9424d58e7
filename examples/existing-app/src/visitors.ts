import { createServer, type Server } from 'node:http';
import { type WebSocket, WebSocketServer } from 'ws';

interface VisitorServiceOptions {
  /** 0 for any free port. */
  readonly port: number;
  /** The API that knows whose a token is. */
  readonly apiUrl: string;
}

/**
 * Another service of the team, as it would be without Latchkey: a WebSocket that requires a bearer token, and says who is
 * connected. It runs in the process of the app only to keep the example small.
 */
export async function startVisitorService({ port, apiUrl }: VisitorServiceOptions): Promise<Server> {
  const names = new Map<WebSocket, string>();
  const sockets = new WebSocketServer({ noServer: true });
  const server = createServer((_req, res) => void res.writeHead(426).end());

  function sayWhoIsHere(): void {
    const message = JSON.stringify([...new Set(names.values())]);
    for (const socket of names.keys()) socket.send(message);
  }

  server.on('upgrade', async (req, socket, head) => {
    socket.on('error', () => socket.destroy());
    const name = await findName(apiUrl, req.headers.authorization).catch(() => undefined);
    if (name === undefined) {
      socket.end('HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(req, socket, head, (webSocket) => {
      names.set(webSocket, name);
      webSocket.on('error', () => webSocket.terminate());
      webSocket.on('close', () => {
        names.delete(webSocket);
        sayWhoIsHere();
      });
      sayWhoIsHere();
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(port, '127.0.0.1', resolve);
  });
  return server;
}

async function findName(apiUrl: string, authorization = ''): Promise<string | undefined> {
  const response = await fetch(`${apiUrl}/api/user/profile`, { headers: { authorization } });
  if (!response.ok) return undefined;
  const { name } = (await response.json()) as { readonly name: string };
  return name;
}
