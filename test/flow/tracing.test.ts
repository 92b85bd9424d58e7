import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-node';
import { WebSocket, WebSocketServer } from 'ws';
import { type ApiWorld, createApiWorld } from '../hostile/support/api-world.ts';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const parentId = 'b7ad6b7169203331';
const exporter = new InMemorySpanExporter();
// As an operator's file does that --import loads before Latchkey.
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
provider.register();

let api: ApiWorld;
beforeAll(async () => {
  api = await createApiWorld(undefined, { TRUST_PROXY: '127.0.0.1,::1' });
});
afterAll(async () => {
  await api.close();
  await provider.shutdown();
});
beforeEach(() => {
  api.recorder.respondWith(undefined);
  exporter.reset();
});

const spans = () => exporter.getFinishedSpans();
const idOf = (span: ReadableSpan | undefined) => span?.spanContext().spanId;

async function waitForSpan(name: string, kind?: number): Promise<ReadableSpan> {
  for (;;) {
    const found = spans().find((span) => span.name === name && (kind === undefined || span.kind === kind));
    if (found) return found;
    await delay(10);
  }
}

test('a request is a span below that of the trusted proxy, and the API gets the span of the call as its parent', async () => {
  const { forwarded } = await api.sendAndRecord('GET /api/profile?secret=x', [
    `traceparent: 00-${traceId}-${parentId}-01`,
  ]);
  const server = await waitForSpan('GET /api/profile', 1);
  const client = await waitForSpan('GET /api/profile', 2);
  const read = await waitForSpan('session read');
  expect(server.spanContext().traceId).toBe(traceId);
  expect(server.parentSpanContext?.spanId).toBe(parentId);
  expect(client.parentSpanContext?.spanId).toBe(idOf(server));
  expect(read.parentSpanContext?.spanId).toBe(idOf(server));
  expect(client.attributes).toMatchObject({ 'http.route': '/api/profile', 'http.response.status_code': 200 });
  const sent = forwarded[0]?.headers.find(([name]) => name === 'traceparent')?.[1];
  expect(sent).toBe(`00-${traceId}-${idOf(client)}-01`);
  const line = api.world.latchkey.logLines
    .map((each) => JSON.parse(each))
    .findLast(({ path }) => path === '/api/profile');
  expect(line).toMatchObject({ traceId });
});

test('a request without a trace begins one, which is in its log line', async () => {
  await api.send('GET /auth/signed-out');
  const server = await waitForSpan('GET');
  const line = api.world.latchkey.logLines
    .map((each) => JSON.parse(each))
    .findLast(({ path }) => path === '/auth/signed-out');
  expect(line.traceId).toBe(server.spanContext().traceId);
});

test('a login and a refresh have spans for the provider and the store, and concurrent traces do not mix', async () => {
  const browser = api.world.browser();
  await api.world.signIn(browser, 'bob', '/auth/login?return_to=/');
  const code = await waitForSpan('oauth authorization_code');
  const write = await waitForSpan('session write');
  expect(write.spanContext().traceId).toBe(code.spanContext().traceId);
  exporter.reset();
  await api.world.clock.advance(301);
  const ids = ['1', '2', '3', '4'].map((each) => traceId.replace(/^./, each));
  await Promise.all(
    ids.map((id) => browser.fetch('/api/profile', { headers: { traceparent: `00-${id}-${parentId}-01` } })),
  );
  await waitForSpan('session refresh');
  const refreshes = spans().filter(({ name }) => name === 'oauth refresh_token');
  expect(refreshes).toHaveLength(1);
  expect(ids).toContain(refreshes[0]?.spanContext().traceId);
  const calls = spans().filter(({ name, kind }) => name === 'GET /api/profile' && kind === 2);
  expect(calls.map((each) => each.spanContext().traceId).sort()).toEqual(ids);
});

test('a failed span has a code and no message; no span contains a query, a user, a session or a token', async () => {
  api.world.providerFaults.set({ path: /token$/, response: { status: 503 } });
  const browser = api.world.browser();
  await api.world.signIn(browser, 'alice', '/auth/login?return_to=/');
  api.world.providerFaults.set(undefined);
  await waitForSpan('oauth authorization_code');
  await api.send('GET /api/profile?secret=in-the-query');
  await waitForSpan('GET /api/profile', 1);
  const failed = spans().find(({ name }) => name === 'oauth authorization_code');
  expect(failed?.status).toEqual({ code: 2 });
  expect(failed?.attributes['error.type']).toMatch(/^[a-z_]+$/);
  const text = JSON.stringify(
    spans().map(({ name, attributes, events, status }) => ({ name, attributes, events, status })),
  );
  const secrets = [
    'alice',
    'in-the-query',
    api.accessToken,
    ...api.cookie.split(/[=;]/),
    ...api.world.issued.refresh,
  ];
  expect(secrets.filter((each) => each.trim().length > 4 && text.includes(each))).toEqual([]);
});

test('a status of 400 or more fails the span of the call to the API, one of 500 or more also that of the request', async () => {
  for (const [status, isRequestFailed] of [
    [404, false],
    [500, true],
  ] as const) {
    exporter.reset();
    api.recorder.respondWith(`HTTP/1.1 ${status} X\r\nContent-Length: 0\r\n\r\n`);
    await api.send('GET /api/profile');
    const failed = [{ code: 2 }, String(status)];
    const request = await waitForSpan('GET /api/profile', 1);
    const call = await waitForSpan('GET /api/profile', 2);
    expect([call.status, call.attributes['error.type']]).toEqual(failed);
    expect([request.status, request.attributes['error.type']]).toEqual(
      isRequestFailed ? failed : [{ code: 0 }, undefined],
    );
  }
});

test('an API gets exactly one traceparent, and no baggage of a client', async () => {
  for (const headers of [
    [`traceparent: 00-${traceId}-${parentId}-01`, 'baggage: role=admin'],
    [`traceparent: 00-${traceId}-${parentId}-01`, `traceparent: 00-${traceId}-${parentId}-00`, 'b3: 1'],
  ]) {
    const { forwarded } = await api.sendAndRecord('GET /api/profile', headers);
    const names = forwarded[0]?.headers.map(([name]) => name).filter((name) => /trace|baggage|b3/.test(name));
    expect(names).toEqual(['traceparent']);
  }
});

test('a request span is not below that of an untrusted client', async () => {
  const untrusted = await createApiWorld();
  exporter.reset();
  const sampledOut = `traceparent: 00-${traceId}-${parentId}-00`;
  const { forwarded } = await untrusted.sendAndRecord('GET /api/profile', [
    sampledOut,
    'baggage: role=admin',
  ]);
  const server = await waitForSpan('GET /api/profile', 1);
  expect(server.spanContext().traceId).not.toBe(traceId);
  expect(forwarded[0]?.headers.find(([name]) => name === 'traceparent')?.[1]).toMatch(/-01$/);
  expect(forwarded[0]?.headers.find(([name]) => name === 'baggage')).toBeUndefined();
  await untrusted.close();
});

test('a very long or invalid traceparent begins a trace of its own', async () => {
  await api.send('GET /auth/signed-out', [`traceparent: 00-${traceId}-${parentId}-01-${'x'.repeat(3_000)}`]);
  const server = await waitForSpan('GET');
  expect(server.spanContext().traceId).not.toBe(traceId);
  expect(server.parentSpanContext).toBeUndefined();
});

describe('a WebSocket handshake', () => {
  const webSockets = new WebSocketServer({ noServer: true });
  /** The `traceparent` of each handshake that the API received. */
  let received: (string | undefined)[];
  let answer: (socket: Socket, req: IncomingMessage, head: Buffer) => void;
  let server: Server;
  let sockets: ApiWorld;
  beforeAll(async () => {
    server = createServer().on('upgrade', (req, socket, head) => {
      received.push(String(req.headers.traceparent));
      answer(socket as Socket, req, head);
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const target = `http://127.0.0.1:${(server.address() as AddressInfo).port}/socket`;
    const route = { path: '/socket', target, methods: { GET: {} }, webSocket: true, timeoutSeconds: 1 };
    sockets = await createApiWorld([route], { TRUST_PROXY: '127.0.0.1,::1' });
  });
  afterAll(async () => {
    for (const each of webSockets.clients) each.terminate();
    server.close().closeAllConnections();
    await sockets.close();
  });
  beforeEach(() => {
    received = [];
    exporter.reset();
  });

  function open(): WebSocket {
    const { origin } = sockets.world;
    const headers = { cookie: sockets.cookie, traceparent: `00-${traceId}-${parentId}-01` };
    const socket = new WebSocket(`${origin.replace('http', 'ws')}/api/socket`, { origin, headers });
    return socket.on('error', () => undefined); // 'close' follows
  }
  const attempts = () => spans().filter(({ name, kind }) => name === 'GET /api/socket' && kind === 2);
  const traceParents = () => attempts().map((span) => `00-${traceId}-${idOf(span)}-01`);
  const reject = (status: string) => (socket: Socket) =>
    socket.end(`HTTP/1.1 ${status}\r\nContent-Length: 0\r\n\r\n`);

  test('is a span below that of the request, which ends with the handshake, and the API gets it as its parent', async () => {
    answer = (socket, req, head) => webSockets.handleUpgrade(req, socket, head, () => undefined);
    const socket = open();
    await once(socket, 'open');
    const client = await waitForSpan('GET /api/socket', 2);
    expect(client.attributes).toEqual({
      'http.request.method': 'GET',
      'http.route': '/api/socket',
      'server.address': expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      'http.response.status_code': 101,
    });
    expect(client.status).toEqual({ code: 0 });
    expect(received).toEqual(traceParents());
    expect(spans().filter(({ name, kind }) => name === 'GET /api/socket' && kind === 1)).toEqual([]);
    socket.close();
    const request = await waitForSpan('GET /api/socket', 1);
    expect(client.parentSpanContext?.spanId).toBe(idOf(request));
    expect(request.parentSpanContext?.spanId).toBe(parentId);
    expect(request.attributes).toMatchObject({
      'http.route': '/api/socket',
      'http.response.status_code': 101,
    });
  });

  test('that the API rejects is a failed span with the status; a second attempt, with a new token, is a span of its own', async () => {
    const statuses = ['401 Unauthorized', '403 Forbidden'];
    answer = (socket) => reject(statuses.shift()!)(socket);
    const [, response] = await once(open(), 'unexpected-response');
    expect(response.statusCode).toBe(403);
    response.destroy();
    await waitForSpan('GET /api/socket', 1);
    expect(attempts().map(({ status, attributes }) => [status, attributes])).toEqual(
      [401, 403].map((status) => [
        { code: 2 },
        expect.objectContaining({ 'http.response.status_code': status, 'error.type': `${status}` }),
      ]),
    );
    expect(received).toEqual(traceParents());
    expect(new Set(received).size).toBe(2);
  });

  test.each<[string, string, typeof answer]>([
    ['closes', 'ECONNRESET', (socket) => socket.destroy()],
    ['does not answer', 'ETIMEDOUT', () => undefined],
    ['answers without the right key', '_OTHER', reject('101 Switching Protocols\r\nUpgrade: websocket')],
  ])(
    'that the API %s is a failed span with the error code %s and without a status',
    async (_what, code, act) => {
      answer = act;
      open();
      const client = await waitForSpan('GET /api/socket', 2);
      expect(client.status).toEqual({ code: 2 });
      expect(client.attributes).toMatchObject({ 'error.type': code });
      expect(client.attributes).not.toHaveProperty('http.response.status_code');
      expect(client.events).toEqual([]); // the message of an error may quote a response
      const request = await waitForSpan('GET /api/socket', 1);
      expect(request.status).toEqual({ code: 2 });
      expect(received).toEqual(traceParents());
    },
  );
});
