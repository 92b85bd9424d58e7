import { once } from 'node:events';
import http, { createServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
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
import { listenForUpgrades, rejectWebSocket } from '../../src/proxy/websocket-upgrade.ts';
import { createPageUserTags } from '../../src/session/page-user-tag.ts';
import { requireScope } from '../../src/session/require-scope.ts';
import { createTokenGuards } from '../../src/session/require-token.ts';
import type { TokenRecord } from '../../src/tokens/token-store.ts';
import { waitUntil } from '../hostile/support/wire.ts';

const publicOrigin = 'https://app.example.com';
const timeoutMs = 300;
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
let arrived: IncomingMessage[];
let streams: ReturnType<typeof createOpenStreams>;
let endSession: (id: string) => void;
/** The API's side of the newest WebSocket. */
let upstream: WebSocket;
/** What the API does with a handshake, instead of agreeing. */
let refuse: ((req: IncomingMessage, socket: IncomingMessage['socket']) => void) | undefined;
const clients: WebSocket[] = [];

beforeEach(async () => {
  arrived = [];
  lines.length = 0;
  refuse = undefined;
  sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => [...offered].at(-1)! });
  api = createServer((req, res) => {
    arrived.push(req);
    res.end('plain');
  });
  api.on('upgrade', (req, socket, head) => {
    arrived.push(req);
    if (refuse) {
      req.socket.on('end', () => req.socket.destroy()).resume(); // it goes when its peer goes
      return refuse(req, req.socket);
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
  });
  const getSessionId = (req: { headers: http.IncomingHttpHeaders }) =>
    req.headers.cookie?.slice('session='.length);
  const tokens = {
    current: async (id: string) => (id === 'alice' ? record : undefined),
    replaceRefused: async () => ({ ...record, tokens: { ...record.tokens, accessToken: 'a-renewed-token' } }),
  };
  const appTokens = {
    current: async () => record.tokens,
    replaceRefused: async () => record.tokens,
    drain: async () => {},
  };
  const pageUserTags = createPageUserTags([new Secret('a-secret-for-tests-that-is-long-enough')]);
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
    createErrorResponse({ publicOrigin, english: (key) => key, preparePage: (_req, _res, next) => next() }),
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

function dial(
  path = '/api/echo?room=1',
  headers: Record<string, string> = fromOurPage,
  protocols: string[] = [],
) {
  const client = new WebSocket(`ws://127.0.0.1:${portOf(gateway)}${path}`, protocols, { headers });
  clients.push(client);
  client.on('error', () => undefined); // tests look at what comes of it
  return client;
}

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

/** The answer to a handshake: 101 or the refusal. */
async function answerTo(client: WebSocket): Promise<Answer> {
  return new Promise((resolve) => {
    client.once('upgrade', ({ headers }) => resolve({ status: 101, headers, text: '' }));
    client.once('unexpected-response', async (_req, res: IncomingMessage) => {
      let text = '';
      for await (const chunk of res) text += chunk;
      resolve({ status: res.statusCode!, headers: res.headers, text });
    });
  });
}

/** Open, and the API's first word is there. */
async function opened(path?: string, headers?: Record<string, string>, protocols?: string[]) {
  const client = dial(path, headers, protocols);
  const [first] = await once(client, 'message');
  expect(String(first)).toBe('hello /upstream?room=1');
  return client;
}

const closing = async (socket: WebSocket) => {
  const [code, reason] = await once(socket, 'close');
  return `${code} ${reason}`.trim();
};

describe('the handshake of a WebSocket', () => {
  test("reaches the API with the bearer token and without what is the browser's", async () => {
    const client = await opened(
      '/api/echo?room=1',
      { ...fromOurPage, authorization: 'Basic eDp5', 'x-color': 'red' },
      ['a', 'b'],
    );
    expect(client.protocol).toBe('b');
    const { rawHeaders, headers } = arrived[0]!;
    expect(rawHeaders.filter((each) => each.toLowerCase() === 'authorization')).toHaveLength(1);
    expect(headers).toMatchObject({
      authorization: 'Bearer the-token',
      'x-color': 'red',
      'sec-websocket-protocol': 'a,b',
    });
    for (const name of ['cookie', 'origin', 'sec-fetch-site', 'sec-websocket-extensions'])
      expect(headers).not.toHaveProperty(name);
    expect(headers.host).toBe(`127.0.0.1:${portOf(api)}`);
  });

  test('is one line in the log, under the id the caller was given, when it is over', async () => {
    const client = dial();
    const { headers } = await answerTo(client);
    const id = String(headers['x-request-id']);
    const told = () => lines.filter((line) => line.includes(id));
    await delay(20);
    expect(told()).toEqual([]);
    client.close();
    await waitUntil(() => told().length > 0);
    expect(told()).toEqual([expect.stringMatching(/"path":"\/api\/echo".*"status":101.*request completed/)]);
    expect(arrived[0]!.headers['x-request-id']).toBe(headers['x-request-id']);
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
  ])('with Origin %p and Sec-Fetch-Site %p is answered %i', async (origin, site, status) => {
    const headers = {
      ...signedIn,
      ...(origin !== undefined && { origin }),
      ...(site && { 'sec-fetch-site': site }),
    };
    expect((await answerTo(dial('/api/echo', headers))).status).toBe(status);
    expect(arrived).toHaveLength(status === 101 ? 1 : 0);
  });

  test.each([
    ['without a session', '/api/echo', {}, 401, 'login_required'],
    ['without the scope', '/api/secret', signedIn, 403, 'insufficient_scope'],
    ['at a path that is not listed', '/api/other', signedIn, 404, 'not_found'],
    ['at a row of the API table that takes none', '/api/unlisted', signedIn, 404, 'not_found'],
    ['at a path that answers no WebSocket', '/api/plain', signedIn, 404, 'not_found'],
    ['at a page', '/', signedIn, 404, 'not_found'],
  ])(
    '%s is refused like any request, and nothing reaches the API',
    async (_how, path, headers, status, error) => {
      const client = dial(path, headers);
      const answer = await answerTo(client);
      expect(answer.status).toBe(status);
      expect(JSON.parse(answer.text)).toMatchObject({ error, request_id: answer.headers['x-request-id'] });
      expect(answer.headers.connection).toBe('close');
      expect(arrived).toEqual([]);
    },
  );

  test('of another version, or without a key, is refused before the API is asked', async () => {
    const ask = (headers: Record<string, string>) =>
      new Promise<http.IncomingMessage>((resolve) => {
        const port = portOf(gateway);
        const upgrade = { connection: 'Upgrade', upgrade: 'websocket', ...fromOurPage, ...headers };
        http.get({ port, path: '/api/echo', headers: upgrade }, (res) => resolve(res.resume()));
      });
    const key = 'dGhlIHNhbXBsZSBub25jZQ==';
    for (const wrong of [
      { 'sec-websocket-key': key, 'sec-websocket-version': '12' },
      { 'sec-websocket-version': '13' },
      { 'sec-websocket-key': key, 'sec-websocket-version': '13', 'sec-websocket-protocol': 'a, a' },
    ]) {
      const answer = await ask(wrong);
      expect([answer.statusCode, answer.headers['sec-websocket-version']]).toEqual([400, '13']);
    }
    expect(arrived).toEqual([]);
  });

  test('that the API refuses is answered with its status, body and harmless headers', async () => {
    const answered =
      'HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nSet-Cookie: a=b\r\nContent-Length: 4\r\n\r\nlate';
    refuse = (_req, socket) => void socket.end(answered);
    const { status, headers, text } = await answerTo(dial());
    expect([status, headers['retry-after'], headers['set-cookie'], text]).toEqual([
      429,
      '7',
      undefined,
      'late',
    ]);
  });

  test('whose token the API refuses is made again with a renewed one, once', async () => {
    const answered = 'HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nlate';
    refuse = (_req, socket) => {
      refuse = undefined;
      socket.end(answered);
    };
    await opened();
    expect(arrived.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer the-token',
      'Bearer a-renewed-token',
    ]);
    refuse = (_req, socket) => void socket.end(answered);
    expect(await answerTo(dial())).toMatchObject({ status: 401, text: 'late' });
    expect(arrived).toHaveLength(4);
  });

  test('is 502 when the API is down, hangs up, or agrees to what it was not asked', async () => {
    refuse = (_req, socket) => void socket.destroy();
    expect(await answerTo(dial())).toMatchObject({
      status: 502,
      text: expect.stringContaining('upstream_unreachable'),
    });
    refuse = (_req, socket) =>
      void socket.write(
        'HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n',
      );
    expect((await answerTo(dial())).status).toBe(502);
    api.closeAllConnections();
    api.close();
    await once(api, 'close');
    expect((await answerTo(dial())).status).toBe(502);
  });

  test('is 504 when the API takes too long, and that is noticed by the API', async () => {
    const gone = new Promise((resolve) => {
      refuse = (_req, socket) => void socket.on('close', resolve);
    });
    expect(await answerTo(dial())).toMatchObject({
      status: 504,
      text: expect.stringContaining('upstream_timeout'),
    });
    await gone;
  });

  test.each(['end', 'destroy'] as const)(
    'is given up at the API when the caller leaves (%s)',
    async (leave) => {
      let isGone = false;
      const asked = new Promise<void>((resolve) => {
        refuse = (_req, socket) => {
          socket.on('close', () => {
            isGone = true;
          });
          socket.resume();
          resolve();
        };
      });
      const client = dial();
      client.once('error', () => undefined);
      const raw = await new Promise<IncomingMessage['socket']>((resolve) => {
        // The client's own connection, to leave with or without a reset.
        Reflect.get(client, '_req').once('socket', resolve);
      });
      await asked;
      raw[leave]();
      const begunAt = Date.now();
      await waitUntil(() => isGone);
      expect(Date.now() - begunAt).toBeLessThan(timeoutMs - 50);
      expect(lines.some((line) => line.includes('a request failed'))).toBe(false);
    },
  );

  test('behind a request whose answer is not out yet ends the connection', async () => {
    const socket = connect(portOf(gateway), '127.0.0.1');
    const common = `Host: x\r\nCookie: session=alice\r\n`;
    socket.write(`POST /api/plain HTTP/1.1\r\n${common}Content-Length: 2\r\n\r\nab`);
    socket.write(`GET /api/echo HTTP/1.1\r\n${common}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
    socket.resume();
    await once(socket, 'close');
    expect(arrived).toEqual([]);
    expect((await answerTo(dial())).status).toBe(101); // and the server goes on
  });
});

describe('an upgrade to something else is ignored', () => {
  test.each(['h2c', 'TLS/1.0', 'websocket, h2c'])(
    'to %s: the request is answered as if it had not asked',
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
  test('passes 1,000 messages each way in order, text as text and binary as binary', async () => {
    const client = await opened();
    const got: string[] = [];
    client.on('message', (data, isBinary) => got.push(`${isBinary} ${data}`));
    for (let n = 0; n < 1_000; n += 1) client.send(n % 2 ? `${n}` : Buffer.from(`${n}`));
    await waitUntil(() => got.length === 1_000);
    expect(got).toEqual(Array.from({ length: 1_000 }, (_, n) => `${n % 2 === 0} ${n}`));
  });

  test.each([
    ['upstream to client', () => upstream, (client: WebSocket) => client],
    ['client to upstream', (client: WebSocket) => client, () => upstream],
  ])('holds up whoever sends more than the other takes: 64 MB, %s', async (_way, senderOf, readerOf) => {
    const client = await opened();
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
    expect(sent).toBeLessThan(chunks / 4); // what fits into the buffers on the way
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
  ])('passes the closing code %p on, both ways', async (code, reason, seen) => {
    for (const leavesFirst of ['client', 'upstream']) {
      const client = await opened();
      const [leaver, other] = leavesFirst === 'client' ? [client, upstream] : [upstream, client];
      leaver.close(code, reason);
      expect(await closing(other)).toBe(seen);
    }
  });

  test('ends when either side vanishes', async () => {
    const client = await opened();
    client.terminate();
    expect(await closing(upstream)).toBe('1001');
    const another = await opened();
    upstream.terminate();
    expect(await closing(another)).toBe('1011');
  });

  test('ends with 1009 for a message of more than 16 MiB, which does not reach the API', async () => {
    const client = await opened();
    let reached = 0;
    upstream.on('message', () => {
      reached += 1;
    });
    const [seen, seenUpstream] = [closing(client), closing(upstream)];
    client.send(Buffer.alloc(16 * 1024 * 1024 + 1));
    expect(await Promise.all([seen, seenUpstream])).toEqual(['1009', '1001']);
    expect(reached).toBe(0);
  });

  test('ends with 1008 on both sides when its session ends, and a client that does not answer is cut off', async () => {
    const [client, mute] = [await opened(), await opened()];
    const mutes = upstream;
    mute.pause();
    const goodbyes = Promise.all([closing(client), closing(mutes)]);
    const begunAt = Date.now();
    endSession('bob');
    endSession('alice');
    expect(await goodbyes).toEqual(['1008 session_ended', '1008 session_ended']);
    await waitUntil(() => lines.filter((line) => line.includes('"status":101')).length === 2); // both connections are closed
    expect(Date.now() - begunAt).toBeLessThan(1_000);
  });

  test('ends with 1001 at shutdown', async () => {
    const client = await opened();
    streams.closeAll();
    expect(await closing(client)).toBe('1001 shutdown');
    expect(await closing(await dialled())).toBe('1001 shutdown'); // one that comes later, too

    async function dialled() {
      const late = dial();
      await once(late, 'open');
      return late;
    }
  });

  test('is forgotten by its session when it is over', async () => {
    const forgotten = jest.fn();
    const { open } = streams;
    Object.assign(streams, {
      open: (...args: Parameters<typeof open>) => {
        const forget = open(...args);
        return () => {
          forgotten();
          forget();
        };
      },
    });
    const client = await opened();
    client.close();
    await waitUntil(() => forgotten.mock.calls.length === 1);
  });

  test('a side that is silent, pings among it, is taken for gone', async () => {
    const beats: (() => void)[] = [];
    const spy = jest.spyOn(globalThis, 'setInterval').mockImplementation(((beat: () => void, ms: number) => {
      expect(ms).toBe(30_000);
      beats.push(beat);
      return { unref() {} };
    }) as unknown as typeof setInterval);
    const client = await opened();
    spy.mockRestore();
    const pinged = Promise.all([once(client, 'ping'), once(upstream, 'ping')]);
    for (const beat of beats) beat();
    await pinged;
    const left = closing(client);
    upstream.pause(); // it answers no ping any more
    await delay(50); // until the pong that was on its way is there
    for (let n = 0; n < 3; n += 1) {
      const answered = n < 2 ? once(client, 'ping') : undefined;
      for (const beat of beats) beat();
      await answered;
      await delay(20);
    }
    expect(await left).toBe('1011');
  });
});
