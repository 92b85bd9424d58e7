import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http, { createServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { jest } from '@jest/globals';
import express from 'express';
import { Agent } from 'undici';
import { WebSocket, WebSocketServer } from 'ws';
import { Secret } from '../../src/crypto/secret.ts';
import { createLogger } from '../../src/logger.ts';
import { createCsrfProtection } from '../../src/middleware/csrf.ts';
import { createRequestLog } from '../../src/middleware/request-log.ts';
import { createErrorResponse } from '../../src/pages/error-response.ts';
import { createCallUpstream } from '../../src/proxy/call-upstream.ts';
import { createForwarder } from '../../src/proxy/forward-to.ts';
import { createOpenStreams } from '../../src/proxy/open-streams.ts';
import { listenForUpgrades, rejectWebSocket } from '../../src/proxy/websocket/upgrade.ts';
import { createPageUserTags } from '../../src/session/page-user-tag.ts';
import { requireScope } from '../../src/session/require-scope.ts';
import { createTokenGuards } from '../../src/session/require-token.ts';
import type { TokenRecord } from '../../src/tokens/token-store.ts';
import { waitUntil } from '../hostile/support/raw-http.ts';
import { silentAudit } from '../support/silent-audit.ts';

const publicOrigin = 'https://app.example.com';
const timeoutMs = 300;
const limits = {
  streams: 30,
  streamsPerAddress: 0,
  streamsPerUser: 25,
  streamsPerSession: 20,
  upstreamConnections: 0,
  upstreamConnectionsPerUser: 0,
  upstreamConnectionsPerAddress: 0,
};
const agent = new Agent();
const lines: string[] = [];
const log = createLogger('info', { write: (line: string) => void lines.push(line) });
const record: TokenRecord = {
  tokens: { accessToken: 'the-token', tokenType: 'bearer', scope: ['read'], issuedAt: 0 },
  user: { sub: 'alice' },
  signedInAt: 0,
};

let gateway: Server;
let api: Server;
let sockets: WebSocketServer;
let upstreamRequests: IncomingMessage[];
let streams: ReturnType<typeof createOpenStreams>;
let endSession: (id: string) => void;
/** The API's end of the newest WebSocket. */
let upstream: WebSocket;
/** What the API does with a handshake instead of accepting it. */
let rejectHandshake: ((req: IncomingMessage, socket: IncomingMessage['socket']) => void) | undefined;
const clients: WebSocket[] = [];

beforeEach(async () => {
  upstreamRequests = [];
  lines.length = 0;
  rejectHandshake = undefined;
  sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => [...offered].at(-1)! });
  api = createServer((req, res) => {
    upstreamRequests.push(req);
    res.end('plain');
  });
  api.on('upgrade', (req, socket, head) => {
    upstreamRequests.push(req);
    if (rejectHandshake) {
      req.socket.on('end', () => req.socket.destroy()).resume(); // closes when its peer closes
      return rejectHandshake(req, req.socket);
    }
    sockets.handleUpgrade(req, socket, head, (each) => {
      upstream = each;
      each.on('error', () => undefined); // 'close' follows
      each.send(`hello ${req.url}`);
      each.on('message', (data, binary) => each.send(data, { binary }));
    });
  });
  const target = await listen(api);

  streams = createOpenStreams({
    sessionEndEvents: {
      listen(onEnd) {
        endSession = onEnd;
      },
    },
    endsAt: async () => Date.now() + 60_000,
    now: Date.now,
    log,
    limits,
  });
  const getSessionId = (req: { headers: http.IncomingHttpHeaders }) =>
    req.headers.cookie?.slice('session='.length);
  const tokens = {
    current: async (id: string) => (id === 'alice' ? record : undefined),
    replaceRefused: async () => ({
      ...record,
      tokens: { ...record.tokens, accessToken: 'refreshed-token' },
    }),
  };
  const appTokens = {
    current: async () => record.tokens,
    replaceRefused: async () => record.tokens,
    drain: async () => {},
  };
  const pageUserTags = createPageUserTags({
    secrets: [new Secret('a-secret-for-tests-that-is-long-enough')],
    registration: 'a-registration',
  });
  const { requireToken } = createTokenGuards({
    tokens,
    appTokens,
    pageUserTags,
    getSessionId,
    now: Date.now,
  });
  const app = express().disable('x-powered-by');
  app.use(createRequestLog(log));
  const routes = express.Router();
  routes.use(createCsrfProtection(publicOrigin, ['https://sibling.example.com']).requireSameOrigin);
  routes.get(['/echo', '/secret'], requireToken);
  routes.get('/secret', requireScope('admin'));
  const forwardTo = createForwarder({ callUpstream: createCallUpstream(agent), streams, now: Date.now });
  const destination = { origin: target, targetPath: '/upstream', webSocket: true };
  routes.get(['/echo', '/secret'], (req, res, next) =>
    forwardTo({ ...destination, timeoutMs })(req, res, next),
  );
  routes.get('/unlisted', requireToken, forwardTo({ ...destination, webSocket: false }));
  routes.use(rejectWebSocket);
  routes.all('/plain', express.text({ type: () => true }), (req, res) => {
    res.send(`${req.method} ${req.body ?? ''}`);
  });
  app.use('/api', routes);
  app.use(rejectWebSocket, (_req, res) => void res.send('a page'));
  app.use(
    createErrorResponse({
      publicUrl: publicOrigin,
      basePath: '',
      loginParameters: { createQuery: () => new URLSearchParams() },
      getUserTags: () => [],
      getSessionId: () => undefined,
      audit: silentAudit,
      flash: { set() {} },
      english: (key) => key,
      preparePage: (_req, _res, next) => next(),
    }),
  );
  gateway = createServer(app);
  listenForUpgrades(gateway, app);
  await listen(gateway);
});

afterEach(async () => {
  for (const each of clients.splice(0)) each.terminate();
  streams.closeAll();
  for (const each of sockets.clients) each.terminate();
  for (const each of [gateway, api]) {
    each.closeAllConnections();
    each.close();
  }
  await Promise.all([gateway, api].map((each) => each.listening && once(each, 'close')));
});

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
const portOf = (server: Server) => (server.address() as AddressInfo).port;

const signedIn = { cookie: 'session=alice' };
const fromOurPage = { ...signedIn, origin: publicOrigin, 'sec-fetch-site': 'same-origin' };

function connectClient(
  path = '/api/echo?room=1',
  headers: Record<string, string> = fromOurPage,
  protocols: string[] = [],
) {
  const client = new WebSocket(`ws://127.0.0.1:${portOf(gateway)}${path}`, protocols, { headers });
  clients.push(client);
  client.on('error', () => undefined); // tests check the outcome instead
  return client;
}

interface HandshakeResponse {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

/** The response to a handshake, with its body unless it is 101. */
async function responseTo(client: WebSocket): Promise<HandshakeResponse> {
  return new Promise((resolve) => {
    client.once('upgrade', ({ headers }) => resolve({ status: 101, headers, text: '' }));
    client.once('unexpected-response', async (_req, res: IncomingMessage) => {
      let text = '';
      for await (const chunk of res) text += chunk;
      resolve({ status: res.statusCode!, headers: res.headers, text });
    });
  });
}

/** A WebSocket that is open and has received the API's first message. */
async function openWebSocket(path?: string, headers?: Record<string, string>, protocols?: string[]) {
  const client = connectClient(path, headers, protocols);
  const [first] = await once(client, 'message');
  expect(String(first)).toBe('hello /upstream?room=1');
  return client;
}

const closeOf = async (socket: WebSocket) => {
  const [code, reason] = await once(socket, 'close');
  return `${code} ${reason}`.trim();
};

describe('a WebSocket handshake', () => {
  test("the API receives the bearer token, but not the browser's cookies, Origin or Fetch Metadata", async () => {
    const client = await openWebSocket(
      '/api/echo?room=1',
      { ...fromOurPage, authorization: 'Basic eDp5', 'x-requested-with': 'red' },
      ['a', 'b'],
    );
    expect(client.protocol).toBe('b');
    const { rawHeaders, headers } = upstreamRequests[0]!;
    expect(rawHeaders.filter((each) => each.toLowerCase() === 'authorization')).toHaveLength(1);
    expect(headers).toMatchObject({
      authorization: 'Bearer the-token',
      'x-requested-with': 'red',
      'sec-websocket-protocol': 'a,b',
    });
    for (const name of ['cookie', 'origin', 'sec-fetch-site', 'sec-websocket-extensions'])
      expect(headers).not.toHaveProperty(name);
    expect(headers.host).toBe(`127.0.0.1:${portOf(api)}`);
  });

  test('a WebSocket is logged once, when it closes, with the request id of its handshake', async () => {
    const client = connectClient();
    const { headers } = await responseTo(client);
    const id = String(headers['x-request-id']);
    const loggedLines = () => lines.filter((line) => line.includes(id));
    await delay(20);
    expect(loggedLines()).toEqual([]);
    client.close();
    await waitUntil(() => loggedLines().length > 0);
    expect(loggedLines()).toEqual([
      expect.stringMatching(/"path":"\/api\/echo".*"status":101.*request completed/),
    ]);
    expect(upstreamRequests[0]!.headers['x-request-id']).toBe(headers['x-request-id']);
  });

  test.each([
    [publicOrigin, 'same-origin', 101],
    [publicOrigin, undefined, 101],
    [undefined, undefined, 101],
    ['https://sibling.example.com', 'same-site', 101],
    [publicOrigin, 'none', 403],
    [publicOrigin, 'same-site', 403],
    [publicOrigin, 'cross-site', 403],
    [undefined, 'same-origin', 403],
    [undefined, 'none', 403],
    [undefined, 'cross-site', 403],
    ['https://evil.example', 'same-origin', 403],
    ['https://evil.example', 'cross-site', 403],
    ['https://evil.example', undefined, 403],
    ['https://app.example.com.evil.example', undefined, 403],
    ['null', undefined, 403],
    ['', undefined, 403],
  ])('a handshake with Origin %p and Sec-Fetch-Site %p returns %i', async (origin, site, status) => {
    const headers = {
      ...signedIn,
      ...(origin !== undefined && { origin }),
      ...(site && { 'sec-fetch-site': site }),
    };
    expect((await responseTo(connectClient('/api/echo', headers))).status).toBe(status);
    expect(upstreamRequests).toHaveLength(status === 101 ? 1 : 0);
  });

  test.each([
    ['without a session', '/api/echo', {}, 401, 'login_required'],
    ['without the required scope', '/api/secret', signedIn, 403, 'insufficient_scope'],
    ['for a path that is not listed', '/api/other', signedIn, 404, 'not_found'],
    ['for a route that does not allow WebSockets', '/api/unlisted', signedIn, 404, 'not_found'],
    ['for a path that is not proxied', '/api/plain', signedIn, 404, 'not_found'],
    ['for a page', '/', signedIn, 404, 'not_found'],
  ])(
    'a handshake %s is rejected as an ordinary request would be, and nothing reaches the API',
    async (_what, path, headers, status, error) => {
      const client = connectClient(path, headers);
      const response = await responseTo(client);
      expect(response.status).toBe(status);
      expect(JSON.parse(response.text)).toMatchObject({
        error,
        request_id: response.headers['x-request-id'],
      });
      expect(response.headers.connection).toBe('close');
      expect(upstreamRequests).toEqual([]);
    },
  );

  test('a handshake with a wrong version (426), no key or a repeated subprotocol (400) is rejected before the API is called', async () => {
    const sendHandshake = (headers: Record<string, string>) =>
      new Promise<http.IncomingMessage>((resolve) => {
        const port = portOf(gateway);
        const upgrade = { connection: 'Upgrade', upgrade: 'websocket', ...fromOurPage, ...headers };
        http.get({ port, path: '/api/echo', headers: upgrade }, (res) => resolve(res.resume()));
      });
    const key = 'dGhlIHNhbXBsZSBub25jZQ==';
    for (const invalid of [
      { 'sec-websocket-key': key, 'sec-websocket-version': '12' },
      { 'sec-websocket-version': '13' },
      { 'sec-websocket-key': key, 'sec-websocket-version': '13', 'sec-websocket-protocol': 'a, a' },
    ]) {
      const response = await sendHandshake(invalid);
      expect([response.statusCode, response.headers['sec-websocket-version']]).toEqual([
        invalid['sec-websocket-version'] === '12' ? 426 : 400,
        '13',
      ]);
    }
    expect(upstreamRequests).toEqual([]);
  });

  test('the 21st WebSocket of a session gets 429 with the name of the setting, and the API is not called', async () => {
    const open = [];
    for (let n = 0; n < 20; n += 1) open.push(await openWebSocket());
    const { status, headers, text } = await responseTo(connectClient());
    expect([status, headers['retry-after'], JSON.parse(text).limit]).toEqual([
      429,
      '10',
      'MAX_STREAMS_PER_SESSION',
    ]);
    expect(upstreamRequests).toHaveLength(20);
    open[0]!.terminate();
    await waitUntil(() => lines.some((line) => line.includes('"status":101'))); // it has closed here, too
    await openWebSocket();
  });

  test("when the API rejects a handshake, the browser gets the API's status, body and safe headers", async () => {
    const rawResponse =
      'HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nSet-Cookie: a=b\r\nContent-Length: 4\r\n\r\nlate';
    rejectHandshake = (_req, socket) => void socket.end(rawResponse);
    const { status, headers, text } = await responseTo(connectClient());
    expect([status, headers['retry-after'], headers['set-cookie'], text]).toEqual([
      429,
      '7',
      undefined,
      'late',
    ]);
  });

  test('a handshake whose token the API rejects is repeated once with a refreshed token', async () => {
    const rawResponse = 'HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nlate';
    rejectHandshake = (_req, socket) => {
      rejectHandshake = undefined;
      socket.end(rawResponse);
    };
    await openWebSocket();
    expect(upstreamRequests.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer the-token',
      'Bearer refreshed-token',
    ]);
    rejectHandshake = (_req, socket) => void socket.end(rawResponse);
    expect(await responseTo(connectClient())).toMatchObject({ status: 401, text: 'late' });
    expect(upstreamRequests).toHaveLength(4);
  });

  test('a handshake returns 502 when the API is down, disconnects, or sends a wrong Sec-WebSocket-Accept', async () => {
    rejectHandshake = (_req, socket) => void socket.destroy();
    expect(await responseTo(connectClient())).toMatchObject({
      status: 502,
      text: expect.stringContaining('upstream_unreachable'),
    });
    rejectHandshake = (_req, socket) =>
      void socket.write(
        'HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n',
      );
    expect((await responseTo(connectClient())).status).toBe(502);
    api.closeAllConnections();
    api.close();
    await once(api, 'close');
    expect((await responseTo(connectClient())).status).toBe(502);
  });

  test('a handshake that times out returns 504 and closes the connection to the API', async () => {
    const apiClosed = new Promise((resolve) => {
      rejectHandshake = (_req, socket) => void socket.on('close', resolve);
    });
    expect(await responseTo(connectClient())).toMatchObject({
      status: 504,
      text: expect.stringContaining('upstream_timeout'),
    });
    await apiClosed;
  });

  test.each(['end', 'destroy'] as const)(
    'when a client disconnects during the handshake (%s), the connection to the API closes',
    async (disconnect) => {
      let isClosed = false;
      const handshakeReceived = new Promise<void>((resolve) => {
        rejectHandshake = (_req, socket) => {
          socket.on('close', () => {
            isClosed = true;
          });
          socket.resume();
          resolve();
        };
      });
      const client = connectClient();
      client.once('error', () => undefined);
      const socket = await new Promise<IncomingMessage['socket']>((resolve) => {
        // The client's TCP socket, to disconnect with or without a reset.
        Reflect.get(client, '_req').once('socket', resolve);
      });
      await handshakeReceived;
      socket[disconnect]();
      const startedAt = Date.now();
      await waitUntil(() => isClosed);
      expect(Date.now() - startedAt).toBeLessThan(timeoutMs - 50);
      expect(lines.some((line) => line.includes('a request failed'))).toBe(false);
    },
  );

  test('handshakes that the API rejects do not count as open WebSockets', async () => {
    rejectHandshake = (_req, socket) => socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
    for (let count = 0; count <= limits.streamsPerSession; count += 1)
      expect(await responseTo(connectClient())).toMatchObject({ status: 403, text: 'no' });
    rejectHandshake = undefined;
    expect((await responseTo(connectClient())).status).toBe(101);
  });

  test('a handshake pipelined behind an unanswered request closes the connection', async () => {
    const socket = connect(portOf(gateway), '127.0.0.1');
    const common = `Host: x\r\nCookie: session=alice\r\n`;
    socket.write(`POST /api/plain HTTP/1.1\r\n${common}Content-Length: 2\r\n\r\nab`);
    socket.write(`GET /api/echo HTTP/1.1\r\n${common}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
    socket.resume();
    await once(socket, 'close');
    expect(upstreamRequests).toEqual([]);
    expect((await responseTo(connectClient())).status).toBe(101); // the server still accepts handshakes
  });
});

describe('an upgrade to another protocol', () => {
  test.each(['h2c', 'TLS/1.0', 'websocket, h2c'])(
    'Upgrade: %s is ignored, and the request gets its usual response',
    async (token) => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
      const body = 'x'.repeat(90_000);
      const send = (): Promise<string> =>
        new Promise((resolve, reject) => {
          const headers = {
            connection: 'Upgrade, HTTP2-Settings',
            upgrade: token,
            'http2-settings': '',
            'content-length': body.length,
          };
          const request = http.request({
            port: portOf(gateway),
            path: '/api/plain',
            method: 'POST',
            headers,
            agent,
          });
          request.on('response', async (res) => {
            let text = '';
            for await (const chunk of res) text += chunk;
            resolve(`${res.statusCode} ${text}`);
          });
          request.on('error', reject);
          request.write(body.slice(0, 10));
          setTimeout(() => request.end(body.slice(10)), 20);
        });
      expect(await send()).toBe(`200 POST ${body}`);
      expect(await send()).toBe(`200 POST ${body}`);
      agent.destroy();
    },
  );
});

describe('an open WebSocket', () => {
  test('1,000 messages pass in each direction in order, text as text and binary as binary', async () => {
    const client = await openWebSocket();
    const got: string[] = [];
    client.on('message', (data, isBinary) => got.push(`${isBinary} ${data}`));
    for (let n = 0; n < 1_000; n += 1) client.send(n % 2 ? `${n}` : Buffer.from(`${n}`));
    await waitUntil(() => got.length === 1_000);
    expect(got).toEqual(Array.from({ length: 1_000 }, (_, n) => `${n % 2 === 0} ${n}`));
  });

  test.each([
    ['upstream to client', () => upstream, (client: WebSocket) => client],
    ['client to upstream', (client: WebSocket) => client, () => upstream],
  ])('backpressure stops a fast sender: 64 MB, %s', async (_direction, senderOf, readerOf) => {
    const client = await openWebSocket();
    const [sender, reader] = [senderOf(client), readerOf(client)];
    upstream.removeAllListeners('message'); // no echo
    const chunk = Buffer.alloc(64 * 1024, 7);
    const chunks = 1024;
    reader.pause();
    let sent = 0;
    const sending = (async () => {
      for (; sent < chunks; sent += 1) await new Promise((done) => sender.send(chunk, done));
    })();
    await delay(1_000);
    expect(sent).toBeLessThan(chunks / 4); // what fits into the buffers in between
    let received = 0;
    reader.on('message', (data: Buffer) => {
      received += data.length;
    });
    reader.resume();
    await sending;
    await waitUntil(() => received === chunks * chunk.length);
  });

  test.each([
    [1000, 'bye', '1000 bye'],
    [4001, 'ours', '4001 ours'],
    [undefined, undefined, '1005'],
  ])('close code %p passes in both directions', async (code, reason, seen) => {
    for (const first of ['client', 'upstream']) {
      const client = await openWebSocket();
      const [closer, other] = first === 'client' ? [client, upstream] : [upstream, client];
      closer.close(code, reason);
      expect(await closeOf(other)).toBe(seen);
    }
  });

  test('when the client disappears, the API gets 1001; when the API disappears, the client gets 1011', async () => {
    const client = await openWebSocket();
    client.terminate();
    expect(await closeOf(upstream)).toBe('1001');
    const another = await openWebSocket();
    upstream.terminate();
    expect(await closeOf(another)).toBe('1011');
  });

  /** The client's and the API's TCP sockets of a WebSocket, with what they receive, to send other bytes than `ws` would. */
  async function openRaw() {
    const client = await openWebSocket();
    const watch = (socket: WebSocket) => {
      const tcp: Socket = Reflect.get(socket, '_socket');
      const received: Buffer[] = [];
      tcp.removeAllListeners('data');
      tcp.on('data', (chunk) => received.push(chunk));
      let isClosed = false;
      tcp.on('close', () => {
        isClosed = true;
      });
      return { tcp, bytes: () => Buffer.concat(received), isClosed: () => isClosed };
    };
    return { client: watch(client), api: watch(upstream) };
  }
  const mask = Buffer.from([0, 0, 0, 0]);
  const frame = (first: number, payload: Buffer, isMasked: boolean) =>
    Buffer.concat([
      Buffer.from([first, payload.length | (isMasked ? 0x80 : 0)]),
      isMasked ? mask : Buffer.alloc(0),
      payload,
    ]);
  /** The beginning of a binary frame of 1 GiB. */
  const longFrame = (isMasked: boolean) =>
    Buffer.from([0x82, isMasked ? 0xff : 0x7f, 0, 0, 0, 0, 0x40, 0, 0, 0, ...(isMasked ? mask : [])]);

  test.each([true, false])(
    'a frame is passed on as it arrives, not when it is complete (from client: %p)',
    async (isClient) => {
      const { client, api: server } = await openRaw();
      const [sender, receiver] = isClient ? [client, server] : [server, client];
      const part = Buffer.concat([longFrame(isClient), Buffer.alloc(300_000, 7)]);
      sender.tcp.write(part);
      await waitUntil(() => receiver.bytes().length >= part.length);
      expect(receiver.bytes().equals(part)).toBe(true);
    },
  );

  test('after both peers have sent a close frame, Latchkey closes both connections, even if no peer does', async () => {
    const { client, api: server } = await openRaw();
    client.tcp.write(frame(0x88, Buffer.from([0x03, 0xe8]), true));
    await waitUntil(() => server.bytes().length > 0);
    const startedAt = Date.now();
    server.tcp.write(frame(0x88, Buffer.from([0x03, 0xe8]), false));
    await waitUntil(() => client.isClosed() && server.isClosed());
    expect(Date.now() - startedAt).toBeLessThan(1_000);
    expect([...client.bytes()]).toEqual([0x88, 2, 0x03, 0xe8]);
  });

  test('frames that the API sends together with its 101 response reach the client', async () => {
    rejectHandshake = (req, socket) => {
      const accept = createHash('sha1')
        .update(`${req.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
        .digest('base64');
      const head = `HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`;
      const messages = ['one', 'two'].map((each) => frame(0x81, Buffer.from(each), false));
      socket.write(Buffer.concat([Buffer.from(head), ...messages]));
    };
    const client = connectClient();
    const got: string[] = [];
    client.on('message', (data) => got.push(String(data)));
    await waitUntil(() => got.length === 2);
    expect(got).toEqual(['one', 'two']);
  });

  test('when the API ends its connection without a close frame, the client gets all it sent, then 1011 at once', async () => {
    const client = await openWebSocket();
    let bytes = 0;
    client.on('message', (data: Buffer) => {
      bytes += data.length;
    });
    const closed = closeOf(client);
    for (let n = 0; n < 32; n += 1) upstream.send(Buffer.alloc(65_536));
    Reflect.get(upstream, '_socket').end(); // as a server that stops: FIN only
    expect(await closed).toBe('1011');
    expect(bytes).toBe(32 * 65_536);
  });

  test('a rejected handshake whose body does not end keeps no connection to the API when the client leaves', async () => {
    let isClosed = false;
    rejectHandshake = (_req, socket) => {
      socket.on('close', () => {
        isClosed = true;
      });
      socket.write('HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\nnot all');
    };
    const client = connectClient();
    const response = await new Promise<IncomingMessage>((resolve) => {
      client.once('unexpected-response', (_request, res: IncomingMessage) => resolve(res));
    });
    expect(response.statusCode).toBe(404);
    response.destroy();
    await waitUntil(() => isClosed);
  });

  test('a message of 40 MiB passes in both directions', async () => {
    const limit = 64 * 1024 * 1024;
    const client = await openWebSocket();
    for (const each of [client, upstream]) Reflect.get(each, '_receiver')._maxPayload = limit;
    const message = Buffer.alloc(40 * 1024 * 1024, 7);
    client.send(message);
    const [echo] = await once(client, 'message');
    expect(message.equals(echo)).toBe(true);
  });

  test.each([
    ['a frame without mask', frame(0x82, Buffer.from('x'), false)],
    ['a reserved bit', frame(0xc2, Buffer.from('x'), true)],
    ['a fragmented ping', frame(0x09, Buffer.from('x'), true)],
    ['a length beyond 2^53', Buffer.from([0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, ...mask])],
  ])('a client that sends %s gets 1002, the API 1001 and nothing else', async (_what, bytes) => {
    const { client, api: server } = await openRaw();
    client.tcp.write(Buffer.concat([bytes, frame(0x82, Buffer.from('more'), true)]));
    await waitUntil(() => client.bytes().length > 0 && server.bytes().length > 0);
    expect([...client.bytes()]).toEqual([0x88, 2, 0x03, 0xea]);
    expect(server.bytes()[0]).toBe(0x88);
    expect(server.bytes()).toHaveLength(8);
    await waitUntil(client.isClosed);
  });

  test.each([true, false])(
    'at the end of a session, a peer in the middle of a frame is disconnected, the other gets 1008 (from client: %p)',
    async (isClient) => {
      const { client, api: server } = await openRaw();
      const [sender, receiver] = isClient ? [client, server] : [server, client];
      sender.tcp.write(longFrame(isClient));
      await waitUntil(() => receiver.bytes().length > 0);
      const before = receiver.bytes().length;
      endSession('alice');
      await waitUntil(() => receiver.isClosed() && sender.bytes().length > 0);
      expect(sender.bytes()[0]).toBe(0x88);
      expect(receiver.bytes().length).toBe(before);
    },
  );

  test("pings of a peer reach the other one; pongs for Latchkey's pings do not", async () => {
    const heartbeats: (() => void)[] = [];
    const spy = jest.spyOn(globalThis, 'setInterval').mockImplementation(((heartbeat: () => void) => {
      heartbeats.push(heartbeat);
      return { unref() {} };
    }) as unknown as typeof setInterval);
    const client = await openWebSocket();
    spy.mockRestore();
    const pongs: string[] = [];
    upstream.on('pong', (data) => pongs.push(String(data)));
    client.on('pong', (data) => pongs.push(String(data)));
    client.ping('from client');
    await waitUntil(() => pongs.length === 1);
    upstream.ping('from api');
    await waitUntil(() => pongs.length === 2);
    const pinged = Promise.all([once(client, 'ping'), once(upstream, 'ping')]);
    for (const heartbeat of heartbeats) heartbeat();
    await pinged;
    client.send('later'); // pongs would arrive before the echo
    await once(client, 'message');
    expect(pongs).toEqual(['from client', 'from api']);
  });

  test('when both peers send without reading, both are disconnected after three intervals', async () => {
    const heartbeats: (() => void)[] = [];
    const spy = jest.spyOn(globalThis, 'setInterval').mockImplementation(((heartbeat: () => void) => {
      heartbeats.push(heartbeat);
      return { unref() {} };
    }) as unknown as typeof setInterval);
    const client = await openWebSocket();
    spy.mockRestore();
    upstream.removeAllListeners('message'); // no echo
    const peers = [client, upstream];
    for (const each of peers) each.pause();
    const chunk = Buffer.alloc(1024 * 1024);
    for (const each of peers) for (let n = 0; n < 24; n += 1) each.send(chunk);
    const isBlocked = () => peers.every((each) => each.bufferedAmount > 0);
    await waitUntil(isBlocked);
    let last = -1;
    for (let sent = 0; sent !== last; await delay(100)) {
      last = sent; // until no more bytes pass
      sent = peers.reduce((sum, each) => sum + each.bufferedAmount, 0);
    }
    const closed = peers.map(
      (each) => new Promise((done) => Reflect.get(each, '_socket').once('close', done)),
    );
    for (let n = 0; n < 4; n += 1) for (const heartbeat of heartbeats) heartbeat();
    for (const each of peers) each.resume();
    await Promise.all(closed);
  });

  test('the end of a session closes both sides with 1008, even if a client does not answer the close frame', async () => {
    const [client, silentClient] = [await openWebSocket(), await openWebSocket()];
    const silentUpstream = upstream;
    silentClient.pause();
    const closeFrames = Promise.all([closeOf(client), closeOf(silentUpstream)]);
    const startedAt = Date.now();
    endSession('bob');
    endSession('alice');
    expect(await closeFrames).toEqual(['1008 session_ended', '1008 session_ended']);
    await waitUntil(() => lines.filter((line) => line.includes('"status":101')).length === 2); // both connections are closed
    expect(Date.now() - startedAt).toBeLessThan(1_000);
  });

  test('shutdown closes open and new WebSockets with 1001', async () => {
    const client = await openWebSocket();
    streams.closeAll();
    expect(await closeOf(client)).toBe('1001 shutdown');
    expect(await closeOf(await connectLate())).toBe('1001 shutdown'); // opened after the shutdown

    async function connectLate() {
      const late = connectClient();
      await once(late, 'open');
      return late;
    }
  });

  test('a WebSocket that closes is removed from the open streams of its session', async () => {
    const onForget = jest.fn();
    const { register } = streams;
    Object.assign(streams, {
      register: (...args: Parameters<typeof register>) => {
        const forget = register(...args);
        return () => {
          onForget();
          forget();
        };
      },
    });
    const client = await openWebSocket();
    client.close();
    await waitUntil(() => onForget.mock.calls.length === 1);
  });

  test('a peer that does not answer pings is disconnected', async () => {
    const heartbeats: (() => void)[] = [];
    const spy = jest.spyOn(globalThis, 'setInterval').mockImplementation(((
      heartbeat: () => void,
      ms: number,
    ) => {
      expect(ms).toBe(30_000);
      heartbeats.push(heartbeat);
      return { unref() {} };
    }) as unknown as typeof setInterval);
    const client = await openWebSocket();
    spy.mockRestore();
    const pinged = Promise.all([once(client, 'ping'), once(upstream, 'ping')]);
    for (const heartbeat of heartbeats) heartbeat();
    await pinged;
    const closed = closeOf(client);
    upstream.pause(); // answers no more pings
    await delay(50); // a pong may still be on its way
    for (let n = 0; n < 3; n += 1) {
      const nextPing = n < 2 ? once(client, 'ping') : undefined;
      for (const heartbeat of heartbeats) heartbeat();
      await nextPing;
      await delay(20);
    }
    expect(await closed).toBe('1011');
  });
});
