import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { createLogger } from '../../src/logger.ts';
import { listenForUpgrades } from '../../src/proxy/websocket/upgrade.ts';
import { handleClientErrors } from '../../src/server/client-errors.ts';
import { limitConnections, limitPipelining } from '../../src/server/connection-limits.ts';
import { serverTimes } from '../../src/server/request-times.ts';
import { type ApiWorld, createApiWorld } from './support/api-world.ts';
import { formatHead, sendRaw, waitUntil } from './support/raw-http.ts';

interface Connection {
  readonly socket: Socket;
  text(): string;
  isClosed(): boolean;
}

const connections: Connection[] = [];
afterEach(() => {
  for (const { socket } of connections.splice(0)) socket.destroy();
});

function open(port: number, from = '127.0.0.1'): Connection {
  const socket = connect({ port, host: '127.0.0.1', localAddress: from });
  let text = '';
  let isClosed = false;
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    isClosed = true;
  });
  const connection = { socket, text: () => text, isClosed: () => isClosed };
  connections.push(connection);
  return connection;
}

const get = formatHead('GET /healthz', ['Host: localhost']);

/** True when the connection is answered, false when it is closed instead. */
async function isServed(connection: Connection): Promise<boolean> {
  connection.socket.write(get);
  await waitUntil(() => connection.isClosed() || connection.text().includes('200 OK'));
  return !connection.isClosed();
}

describe('connections', () => {
  const lines: string[] = [];
  const log = createLogger('info', { write: (line: string) => lines.push(line) });
  const cleanUps: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const cleanUp of cleanUps.splice(0)) await cleanUp();
    lines.length = 0;
  });

  async function listen(limits: { total?: number; perAddress?: number }, trusted: readonly string[] = []) {
    const server = createServer(serverTimes, (_req, res) => res.end('ok'));
    const isTrustedProxy = (address: string) => trusted.includes(address);
    handleClientErrors(server, log);
    limitConnections(server, { limits: { total: 0, perAddress: 0, ...limits }, isTrustedProxy, log });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanUps.push(async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    });
    return { server, port: (server.address() as AddressInfo).port };
  }

  test('over MAX_CONNECTIONS are closed with one log line, and served again once another has closed', async () => {
    const { server, port } = await listen({ total: 3 });
    const first = [open(port), open(port), open(port)];
    for (const each of first) expect(await isServed(each)).toBe(true);
    for (let count = 0; count < 5; count += 1) expect(await isServed(open(port))).toBe(false);
    expect(lines.filter((line) => line.includes('connections refused'))).toHaveLength(1);
    expect(lines.join()).toContain('"setting":"MAX_CONNECTIONS"');
    first[0]!.socket.destroy();
    await waitUntil(() => (server as unknown as { _connections: number })._connections < 3);
    expect(await isServed(open(port))).toBe(true);
  });

  test('of one address over MAX_CONNECTIONS_PER_ADDRESS are closed, those of other addresses and trusted proxies are not', async () => {
    const { port } = await listen({ perAddress: 2 }, ['127.0.0.3']);
    const first = [open(port), open(port)];
    for (const each of first) expect(await isServed(each)).toBe(true);
    expect(await isServed(open(port))).toBe(false);
    expect(await isServed(open(port, '127.0.0.2'))).toBe(true);
    for (let count = 0; count < 4; count += 1) expect(await isServed(open(port, '127.0.0.3'))).toBe(true);
    expect(lines.join()).toContain('"setting":"MAX_CONNECTIONS_PER_ADDRESS"');
    first[0]!.socket.end();
    await waitUntil(() => first[0]!.isClosed());
    expect(await isServed(open(port))).toBe(true);
  });

  test('with an ignored Upgrade count once, and are closed after the response, as Node keeps memory for each', async () => {
    const { server, port } = await listen({ perAddress: 1 });
    listenForUpgrades(server, (_req, res) => res.end('ok'));
    for (let count = 0; count < 3; count += 1) {
      const connection = open(port);
      const upgrade = formatHead('GET /', ['Host: a', 'Connection: upgrade', 'Upgrade: h2c']);
      connection.socket.write(Buffer.concat([upgrade, upgrade]));
      await waitUntil(() => connection.isClosed());
      expect(connection.text().split('200 OK')).toHaveLength(2);
    }
  });

  test('that a load balancer opens in advance and keeps idle for a minute are not closed', async () => {
    const { server } = await listen({});
    for (const time of [server.headersTimeout, server.keepAliveTimeout]) expect(time).toBeGreaterThan(60_000);
  });

  test('with a thousand requests in one packet are closed, and few of the requests are handled', async () => {
    let handled = 0;
    const { server, port } = await listen({});
    server.removeAllListeners('request');
    const respond = limitPipelining((_req, res) => {
      handled += 1;
      setImmediate(() => res.end('ok'));
    });
    server.on('request', respond);
    const [flood, usual] = [open(port), open(port)];
    flood.socket.write(Buffer.concat(Array(1000).fill(get)));
    usual.socket.write(Buffer.concat(Array(10).fill(get)));
    await waitUntil(() => flood.isClosed() && usual.text().split('200 OK').length === 11);
    expect(handled).toBe(11);
    for (let round = 12; round < 32; round += 1) {
      usual.socket.write(get);
      await waitUntil(() => usual.text().split('200 OK').length === round);
    }
  });

  test('handle the second request of a packet once the first has its response, and never after the client has gone', async () => {
    const responses: ServerResponse[] = [];
    const { server, port } = await listen({});
    server.removeAllListeners('request');
    server.on(
      'request',
      limitPipelining((_req, res) => responses.push(res)),
    );
    const connection = open(port);
    connection.socket.write(Buffer.concat([get, get, get]));
    await waitUntil(() => responses.length === 1);
    responses[0]!.end('first');
    await waitUntil(() => responses.length === 2 && connection.text().includes('first'));
    connection.socket.destroy();
    await waitUntil(() => responses[1]!.closed);
    expect(responses).toHaveLength(2);
  });

  test('that send nothing, or half a head, are closed', async () => {
    const { server, port } = await listen({});
    expect(server.requestTimeout).toBe(3_600_000);
    server.headersTimeout = 500; // checked every five seconds
    const [silent, half] = [open(port), open(port)];
    half.socket.write('GET / HTTP/1.1\r\nHost: local');
    await new Promise<void>((resolve) => half.socket.once('close', () => resolve()));
    await waitUntil(() => silent.isClosed());
    expect([half.text().split('\r\n', 1)[0], silent.text()]).toEqual(['HTTP/1.1 408 Request Timeout', '']);
  }, 15_000);
});

describe('a request whose body Latchkey does not read', () => {
  let api: ApiWorld;
  let port: number;
  beforeAll(async () => {
    api = await createApiWorld([{ path: '/data', target: '/data', methods: { POST: {} } }]);
    port = Number(new URL(api.world.origin).port);
  });
  afterAll(() => api.close());

  test('is answered at once', async () => {
    const posts = ['/auth/refresh', '/auth/logout', '/auth/resume/x', '/nothing', '/profile', '/healthz'];
    const sent = posts.map((path) => {
      const connection = open(port);
      connection.socket.write(
        formatHead(`POST ${path}`, ['Host: a', 'Accept: application/json', 'Content-Length: 100000']),
      );
      return connection;
    });
    await waitUntil(() => sent.every(({ text }) => /^HTTP\/1\.1 \d{3}/.test(text())));
  });

  test('leaves its connection usable when the rest arrives in time', async () => {
    const connection = open(port);
    connection.socket.write(
      formatHead('POST /auth/refresh', ['Host: a', 'Accept: application/json', 'Content-Length: 10']),
    );
    await waitUntil(() => connection.text().includes('HTTP/1.1 401'));
    connection.socket.write('x'.repeat(10));
    expect(await isServed(connection)).toBe(true);
  });

  test.each([
    ['POST /auth/console', [], 401],
    ['POST /auth/refresh', [], 401],
    ['POST /api/data', ['Cookie: none=1'], 401],
    ['POST /api/unknown', [], 404],
    ['POST /auth/console', ['Sec-Fetch-Site: cross-site'], 403],
  ])('gets no 100 Continue: %s (%s)', async (line, headers, status) => {
    const head = ['Host: a', 'Expect: 100-continue', 'Content-Length: 20', 'Accept: */*', ...headers];
    const { statuses, text } = await sendRaw(api.world.origin, [formatHead(line, head)]);
    expect(statuses).toEqual([status]);
    expect(text).toMatch(/\r\nConnection: close\r\n/i);
  });

  test('gets 417 for an unknown expectation, and its connection is closed', async () => {
    const head = formatHead('POST /auth/refresh', ['Host: a', 'Expect: more', 'Content-Length: 100']);
    const { statuses, text } = await sendRaw(api.world.origin, [head, 'x']);
    expect(statuses).toEqual([417]);
    expect(text).toMatch(/\r\nConnection: close\r\n/i);
  });

  test('and one that it reads gets 100 Continue first', async () => {
    const connection = open(port);
    const head = ['Host: a', `Cookie: ${api.cookie}`, 'Expect: 100-continue', 'Content-Length: 8'];
    connection.socket.write(formatHead('POST /api/data', [...head, 'Content-Type: application/json']));
    await waitUntil(() => connection.text().includes('HTTP/1.1 100 Continue'));
    connection.socket.write('{"a": 1}');
    await waitUntil(() => connection.text().includes('HTTP/1.1 201'));
    expect((await api.recorder.requests.at(-1)!.body).text).toBe('{"a": 1}');
  });
});

describe('a connection to the API', () => {
  test('is free again after the client of ten requests in one packet has gone', async () => {
    const api = await createApiWorld([{ path: '/data', target: '/data', methods: { GET: {} } }], {
      MAX_UPSTREAM_CONNECTIONS: '5',
    });
    api.recorder.respondWith(() => undefined);
    const head = formatHead('GET /api/data', ['Host: localhost', `Cookie: ${api.cookie}`]);
    for (let round = 1; round <= 3; round += 1) {
      const connection = open(Number(new URL(api.world.origin).port));
      connection.socket.write(Buffer.concat(Array(10).fill(head)));
      await waitUntil(() => api.recorder.requests.length === round);
      connection.socket.destroy();
      await waitUntil(() => api.openRequestCount() === 0);
    }
    api.recorder.respondWith(undefined);
    const responses = await Promise.all(Array.from({ length: 5 }, () => api.send('GET /api/data')));
    expect(responses.map(({ statuses }) => statuses)).toEqual(Array(5).fill([200]));
    await api.close();
  });
});
