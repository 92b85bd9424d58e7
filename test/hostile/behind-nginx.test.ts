import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { type Nginx, startNginx } from '../support/nginx.ts';
import { type ApiWorld, createApiWorld } from './support/api-world.ts';
import { formatHead, sendRaw, waitUntil } from './support/raw-http.ts';

const mebibyte = 1024 * 1024;
const host = 'proxy_set_header Host $host;';
const keepAlive = ['proxy_http_version 1.1;', 'proxy_set_header Connection "";', host];
const upgrade = ['proxy_set_header Upgrade $http_upgrade;', 'proxy_set_header Connection "upgrade";'];

describe.each([
  ['its default settings (HTTP/1.0)', [host], 426],
  ['upstream keep-alive', keepAlive, 426],
  ['upstream keep-alive and unbuffered requests', [...keepAlive, 'proxy_request_buffering off;'], 426],
  ['WebSockets over HTTP/1.0', [host, ...upgrade], 426],
  ['WebSockets over HTTP/1.1', [host, 'proxy_http_version 1.1;', ...upgrade], 101],
] as const)('behind nginx with %s', (_name, proxySettings, handshakeStatus) => {
  let api: ApiWorld;
  let nginx: Nginx;
  beforeAll(async () => {
    const row = { methods: { GET: {}, POST: {} }, bodyLimitBytes: 64 * mebibyte };
    api = await createApiWorld([
      { ...row, path: '/up', target: '/up' },
      { ...row, path: '/small', target: '/small', bodyLimitBytes: 50_000 },
      { ...row, path: '/events', target: '/events', methods: { GET: {} } },
      { ...row, path: '/socket', target: '/socket', methods: { GET: {} }, webSocket: true },
    ]);
    nginx = await startNginx(api.world.origin, proxySettings);
  });
  afterAll(async () => {
    await nginx.close();
    await api.close();
  });
  beforeEach(async () => {
    api.recorder.respondWith(undefined);
    await api.send('POST /api/up', ['Content-Length: 0']); // so that no circuit breaker opens
  });

  async function upload(requestLine: string, bytes: number, cookie = api.cookie): Promise<readonly number[]> {
    const headers = ['Host: localhost', `Cookie: ${cookie}`, `Content-Length: ${bytes}`, 'Connection: close'];
    const { statuses } = await sendRaw(nginx.origin, [
      formatHead(requestLine, headers),
      Buffer.alloc(bytes, 'x'),
    ]);
    return statuses;
  }

  /** The statuses of as many requests as nginx has connections, and one more. */
  async function nextStatuses(): Promise<readonly number[]> {
    const responses = await Promise.all([1, 2, 3].map(() => fetch(`${nginx.origin}/auth/signed-out`)));
    return responses.map(({ status }) => status);
  }

  test.each([60_000, 300_000, 4 * mebibyte])('an upload of %i bytes arrives', async (bytes) => {
    api.recorder.requests.length = 0;
    expect(await upload('POST /api/up', bytes)).toEqual([201]);
    expect(await api.recorder.requests[0]!.body).toMatchObject({ bytes, isWhole: true });
  });

  test.each([
    ['an API that responds early', 'POST /api/up', 413],
    ['the limit of the route', 'POST /api/small', 413],
    ['a missing route', 'POST /api/nowhere', 404],
    ['a page', 'POST /auth/signed-out', 405],
  ] as const)(
    'the next requests of other users are answered after an upload rejected by %s',
    async (_by, line, status) => {
      for (const bytes of [60_000, 300_000, 4 * mebibyte]) {
        api.recorder.respondWith((_req, res) => void res.writeHead(413).end('early'));
        expect([bytes, await upload(line, bytes)]).toEqual([bytes, [status]]);
        expect(await nextStatuses()).toEqual([200, 200, 200]);
      }
    },
  );

  test('the next requests of other users are answered after an upload without a session', async () => {
    expect(await upload('POST /api/up', 4 * mebibyte, 'none')).toEqual([401]);
    expect(await nextStatuses()).toEqual([200, 200, 200]);
  });

  test('each server-sent event arrives when the API sends it', async () => {
    let stream: ServerResponse | undefined;
    api.recorder.respondWith((_req, res) => {
      stream = res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write('data: 1\n\n');
    });
    const response = await fetch(`${nginx.origin}/api/events`, { headers: { cookie: api.cookie } });
    const reader = response.body!.getReader();
    for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
      if (event === 'data: 2\n\n') stream!.write(event);
      expect(new TextDecoder().decode((await reader.read()).value)).toBe(event);
    }
    await reader.cancel();
    await waitUntil(() => stream!.closed);
  });

  test(`a WebSocket handshake gets ${handshakeStatus}`, async () => {
    api.recorder.respondWith((req) => {
      req.socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
          `Sec-WebSocket-Accept: ${acceptKey(String(req.headers['sec-websocket-key']))}\r\n\r\n`,
      );
    });
    const { port } = new URL(nginx.origin);
    const socket = connect(Number(port), '127.0.0.1');
    const lines = ['Host: localhost', `Cookie: ${api.cookie}`, 'Connection: Upgrade', 'Upgrade: websocket'];
    const key = ['Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version: 13'];
    socket.write(formatHead('GET /api/socket', [...lines, ...key]));
    const [head] = await once(socket, 'data');
    expect(String(head).slice(9, 12)).toBe(String(handshakeStatus));
    socket.destroy();
  });
});

function acceptKey(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
}
