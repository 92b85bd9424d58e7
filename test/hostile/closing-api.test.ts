import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { createUpstreamAgent } from '../../src/proxy/upstream/agent.ts';
import { CallAbort } from '../../src/proxy/upstream/call-abort.ts';
import { dispatchRequest } from '../../src/proxy/upstream/exchange.ts';
import { type ApiWorld, createApiWorld } from './support/api-world.ts';
import { formatHead } from './support/raw-http.ts';

const mebibyte = 1024 * 1024;

describe('an API that closes its connections', () => {
  let api: ApiWorld;
  let closeServer: () => void;
  let onConnection: (socket: Socket) => void;
  beforeAll(async () => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      onConnection(socket);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    closeServer = () => server.close();
    api = await createApiWorld([
      {
        path: '/up',
        target: `http://127.0.0.1:${port}/up`,
        methods: { GET: {}, POST: {}, PUT: {}, DELETE: {} },
        bodyLimitBytes: 64 * mebibyte,
        timeoutSeconds: 2,
      },
    ]);
  });
  afterAll(async () => {
    closeServer();
    await api.close();
  });

  test.each([
    [60_000, 1],
    [300_000, 1],
    [5 * mebibyte, 1],
    [5 * mebibyte, 65_536],
    [5 * mebibyte, 2 * mebibyte],
  ])(
    'its early 413 arrives when it closes with bytes unread: %i bytes, closed after %i',
    async (bytes, after) => {
      onConnection = (socket) => {
        let received = 0;
        socket.on('data', (chunk) => {
          received += chunk.length;
          if (received < after) return;
          socket.removeAllListeners('data').pause();
          socket.write('HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlarge', () =>
            socket.destroy(),
          );
        });
      };
      for (let run = 0; run < 20; run += 1) {
        const { statuses, text } = (
          await api.sendAndRecord('POST /api/up', [`Content-Length: ${bytes}`], [Buffer.alloc(bytes, 'x')])
        ).response;
        expect([run, statuses, text.slice(-5)]).toEqual([run, [413], 'large']);
      }
    },
  );

  /** An API that keeps its connections open, and closes one without a response when it gets a second request on it. */
  function closeReusedConnections(): { readonly received: string[] } {
    const received: string[] = [];
    onConnection = (socket) => {
      let requests = 0;
      socket.on('data', (data) => {
        requests += 1;
        received.push(String(data).slice(0, String(data).indexOf(' ')));
        if (requests === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
        else socket.resetAndDestroy();
      });
    };
    return { received };
  }

  test.each([
    ['GET', []],
    ['PUT', ['{"a":1}']],
    ['PUT', []],
    ['DELETE', []],
  ] as const)(
    'a %s with the body %j is repeated when the API closes an idle connection',
    async (method, body) => {
      const { received } = closeReusedConnections();
      const headers = method === 'GET' ? [] : [`Content-Length: ${body.join('').length}`];
      await api.send('GET /api/up');
      received.length = 0;
      expect((await api.send(`${method} /api/up`, headers, body)).statuses).toEqual([200]);
      expect(received).toEqual([method, method]);
    },
  );

  test('a POST is not repeated when the API has received it and closes the connection', async () => {
    const { received } = closeReusedConnections();
    await api.send('GET /api/up');
    received.length = 0;
    expect((await api.send('POST /api/up', ['Content-Length: 2'], ['{}'])).statuses).toEqual([502]);
    expect(received).toEqual(['POST']);
  });

  test('a POST does not use a connection whose end has arrived but was not processed yet', async () => {
    const worker = new Worker(workerCode, { eval: true });
    const [port] = (await once(worker, 'message')) as [number];
    const idle = await createApiWorld([
      { path: '/up', target: `http://127.0.0.1:${port}/up`, methods: { POST: {} }, token: 'none' },
    ]);
    const browser = connect(Number(new URL(idle.world.origin).port), '127.0.0.1').setEncoding('latin1');
    const post = formatHead('POST /api/up', ['Host: localhost', 'Content-Length: 0']);
    for (let run = 0; run < 10; run += 1) {
      browser.write(post);
      const [response] = await once(browser, 'data');
      expect([run, String(response).slice(9, 12)]).toEqual([run, '200']);
      browser.write(post);
      blockFor(80); // meanwhile the API closes the connection; its end and the request wait to be processed together
      const [next] = await once(browser, 'data');
      expect([run, String(next).slice(9, 12)]).toEqual([run, '200']);
    }
    browser.destroy();
    await worker.terminate();
    await idle.close();
  });

  test('a POST is repeated until the API can be connected to', async () => {
    const placeholder = createServer().listen(0, '127.0.0.1');
    await once(placeholder, 'listening');
    const { port } = placeholder.address() as AddressInfo;
    await new Promise((done) => placeholder.close(done));
    const starting = await createApiWorld([
      { path: '/up', target: `http://127.0.0.1:${port}/up`, methods: { POST: {} } },
    ]);
    const refused = once(starting.world.latchkey.deps.upstream, 'connectionError');
    const response = starting.send('POST /api/up', ['Content-Length: 2'], ['{}']);
    await refused;
    const server = createServer((socket) => {
      socket.on('data', () => socket.end('HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n'));
    }).listen(port, '127.0.0.1');
    expect((await response).statuses).toEqual([201]);
    server.close();
    await starting.close();
  });

  test('response headers of 30 KB pass, and of 40 KB get 502 with the cause in the log', async () => {
    onConnection = (socket) => {
      socket.on('data', (data) => {
        const bytes = String(data).includes('large') ? 40_000 : 30_000;
        socket.write(`HTTP/1.1 200 OK\r\nX-Large: ${'x'.repeat(bytes)}\r\nContent-Length: 2\r\n\r\nok`);
      });
    };
    expect((await api.send('GET /api/up')).statuses).toEqual([200]);
    expect((await api.send('GET /api/up?large')).statuses).toEqual([502]);
    expect(api.world.latchkey.logLines.join('')).toContain('UND_ERR_HEADERS_OVERFLOW');
  });
});

test('an idle connection is closed, even if the API announces that it waits longer', async () => {
  const server = createHttpServer({ keepAliveTimeout: 60_000 }, (_req, res) => res.end()).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const agent = createUpstreamAgent();
  const opened = once(server, 'connection') as Promise<[Socket]>;
  await (await agent.request({ origin, path: '/', method: 'GET' })).body.dump();
  await once((await opened)[0], 'close', { signal: AbortSignal.timeout(15_000) });
  await agent.close();
  server.close();
});

test('under constant load, connections are replaced, so that a changed address of the host is used', async () => {
  const ports = new Map<number | undefined, number>();
  const server = createHttpServer(({ socket }, res) => {
    ports.set(socket.remotePort, (ports.get(socket.remotePort) ?? 0) + 1);
    res.end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const agent = createUpstreamAgent();
  for (let count = 0; count < 2_100; count += 1)
    await (await agent.request({ origin, path: '/', method: 'GET' })).body.dump();
  expect(Math.max(...ports.values())).toBe(1_001);
  await agent.close();
  server.close();
});

describe('a client that reads slowly, while the API closes its connection, does not end the process', () => {
  const part = 'x'.repeat(1_000);

  /** What the client gets of a response whose last bytes it reads after the API has closed the connection. */
  async function readLate(headers: string, close: (socket: Socket) => Promise<unknown>): Promise<unknown> {
    const connections: Socket[] = [];
    const server = createServer((socket) => {
      connections.push(socket);
      socket.on('error', () => undefined);
      socket.once('data', () => socket.write(`HTTP/1.1 200 OK\r\nConnection: close\r\n${headers}\r\n`));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const agent = createUpstreamAgent();
    const request = { origin: `http://127.0.0.1:${port}`, path: '/', method: 'GET' } as const;
    const { body } = await dispatchRequest(agent, request, { abort: new CallAbort(), onInfo() {} });
    let bytes = 0;
    let isResumed = false;
    let markRead = () => {};
    const isRead = new Promise<void>((resolve) => {
      markRead = resolve;
    });
    const result = new Promise((resolve) => {
      body.sendTo({
        write(chunk) {
          bytes += chunk.length;
          if (bytes === part.length) markRead();
          return isResumed;
        },
        end: () => resolve([bytes, 'complete']),
        fail: () => resolve([bytes, 'incomplete']),
      });
    });
    connections[0]!.write(part);
    await isRead;
    await close(connections[0]!);
    for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    isResumed = true;
    body.resume();
    const received = await result;
    await agent.destroy();
    server.close();
    return received;
  }
  const end = (socket: Socket) => new Promise<void>((resolve) => void socket.end(resolve));
  const reset = (socket: Socket) => once(socket.resetAndDestroy(), 'close');

  test.each([
    ['that ends with the connection', '', end, 'complete'],
    ['that ends with the connection, which is reset', '', reset, 'incomplete'],
    ['that is shorter than announced', 'Content-Length: 2000\r\n', end, 'incomplete'],
    ['that is reset', 'Content-Length: 2000\r\n', reset, 'incomplete'],
  ] as const)('it gets a response %s', async (_how, headers, close, expected) => {
    expect(await readLate(headers, close)).toEqual([part.length, expected]);
  });
});

function blockFor(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** An API on its own thread that closes each connection 20 ms after a response. */
const workerCode = `
  const { parentPort } = require('node:worker_threads');
  const server = require('node:net').createServer((socket) => {
    socket.on('error', () => {}).on('data', () => {
      socket.write('HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok');
      setTimeout(() => socket.end(), 20);
    });
  }).listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
`;
