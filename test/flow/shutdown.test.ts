import { once } from 'node:events';
import { rmSync } from 'node:fs';
import http, { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import WebSocket from 'ws';
import { waitUntil } from '../hostile/support/raw-http.ts';
import { buildApp } from '../support/build.ts';
import { freePort, killChildren, type Run, startProcess, validEnv } from '../support/processes.ts';
import { writeRoutesFile } from '../support/routes-file.ts';

let buildDir: string;
beforeAll(() => {
  buildDir = buildApp();
}, 60_000);
afterAll(() => rmSync(buildDir, { recursive: true, force: true }));

/** Responds at once to /fast; to /slow when the test says so, to /started with headers at once. */
const pending: ServerResponse[] = [];
const api = createServer((req, res) => {
  if (req.url === '/fast') req.resume().on('end', () => res.end('fast'));
  else {
    if (req.url === '/started') res.write('started ');
    pending.push(res);
  }
});
let routesFile: string;
beforeAll(async () => {
  await once(api.listen(0, '127.0.0.1'), 'listening');
  const target = `http://127.0.0.1:${(api.address() as AddressInfo).port}`;
  const methods = { GET: {}, POST: {} };
  routesFile = writeRoutesFile(
    ['/fast', '/slow', '/started'].map((path) => ({ path, target: target + path, methods, token: 'none' })),
  );
});
afterAll(() => api.close().closeAllConnections());
afterEach(() => {
  killChildren();
  for (const res of pending.splice(0)) res.end();
});

let port: number;
async function start(env: Record<string, string> = {}): Promise<Run> {
  port = Number(await freePort());
  const run = startProcess(buildDir, {
    ...validEnv,
    API_ROUTES_FILE: routesFile,
    ALLOWED_HOSTS: '127.0.0.1',
    PORT: String(port),
    ...env,
  });
  await run.waitForOutput('Latchkey is listening');
  return run;
}

async function stop(run: Run): Promise<void> {
  run.child.kill('SIGTERM');
  await run.waitForOutput('every response closes its connection');
}

interface Answer {
  readonly status: number | undefined;
  readonly connection: string | undefined;
  readonly text: string;
}

function send(path: string, options: http.RequestOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', port, path, agent: false, ...options }, (response) => {
      let text = '';
      response.on('error', reject).on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode, connection: response.headers.connection, text }),
      );
    });
    request.on('error', reject).end();
  });
}

const keepAlive = () => new http.Agent({ keepAlive: true, maxSockets: 1 });
const head = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

async function openSocket(): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1' });
  await once(socket, 'connect');
  return socket;
}

/** Settles when the port is closed. */
async function waitUntilRefused(): Promise<void> {
  for (;;) {
    const code = await send('/healthz').then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error.code,
    );
    if (code === 'ECONNREFUSED') return;
    await delay(20);
  }
}

async function readAll(socket: Socket): Promise<string> {
  let text = '';
  for await (const chunk of socket) text += chunk;
  return text;
}

test('during SHUTDOWN_DELAY_SECONDS, new and old connections get responses, each with Connection: close', async () => {
  // The provider does not exist, and without its metadata /readyz returns 503.
  const endpoints = {
    OAUTH2_AUTHORIZATION_URL: 'http://localhost:1/a',
    OAUTH2_TOKEN_URL: 'http://localhost:1/t',
  };
  const run = await start({ SHUTDOWN_DELAY_SECONDS: '2', ...endpoints });
  const agent = keepAlive();
  expect(await send('/healthz', { agent })).toMatchObject({ status: 200, connection: 'keep-alive' });
  expect(await send('/readyz', { agent })).toMatchObject({ status: 200, connection: 'keep-alive' });
  const stoppedAt = Date.now();
  await stop(run);
  expect(await send('/healthz', { agent })).toMatchObject({ status: 200, connection: 'close' });
  for (const [path, status] of [
    ...([
      ['/api/fast', 200],
      ['/api/unknown', 404],
      ['/auth/signed-out', 200],
      ['/auth/assets/style.css', 200],
    ] as const),
    ...([
      ['/profile', 401],
      ['/unknown', 404],
      ['/readyz', 503],
    ] as const),
  ])
    expect({ path, ...(await send(path, { headers: { connection: 'keep-alive' } })) }).toMatchObject({
      path,
      status,
      connection: 'close',
    });
  expect(await run.waitForExit()).toBe(0);
  expect(Date.now() - stoppedAt).toBeGreaterThanOrEqual(2_000);
  await expect(send('/healthz')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});

test('a response that had not begun at SIGTERM says Connection: close; one that had begun ends completely', async () => {
  const run = await start();
  const [slow, started] = [send('/api/slow', { agent: keepAlive() }), send('/api/started')];
  await waitUntil(() => pending.length === 2);
  await stop(run);
  await waitUntilRefused();
  for (const res of pending.splice(0)) res.end('done');
  expect(await slow).toEqual({ status: 200, connection: 'close', text: 'done' });
  expect(await started).toMatchObject({ status: 200, text: 'started done' });
  expect(await run.waitForExit()).toBe(0);
});

test('no request on a kept connection is reset while the process stops', async () => {
  const run = await start({ SHUTDOWN_DELAY_SECONDS: '1' });
  const outcomes: (number | undefined | string)[] = [];
  let isStopped = false;
  const clients = Array.from({ length: 8 }, async () => {
    const agent = keepAlive();
    while (!isStopped) {
      const outcome = await send('/api/fast', { agent, method: 'POST' }).then(
        ({ status }) => status,
        (error: NodeJS.ErrnoException) => error.code,
      );
      if (outcome === 'ECONNREFUSED') return;
      outcomes.push(outcome);
      await delay(Math.random() * 20);
    }
  });
  await waitUntil(() => outcomes.length > 50);
  await stop(run);
  expect(await run.waitForExit()).toBe(0);
  isStopped = true;
  await Promise.all(clients);
  expect(outcomes.filter((each) => each !== 200)).toEqual([]);
}, 20_000);

test('a request whose first bytes had arrived when the port was closed is answered', async () => {
  const run = await start();
  const socket = await openSocket();
  socket.write(head('/healthz').slice(0, 20));
  await send('/healthz'); // the bytes above have arrived
  await stop(run);
  await waitUntilRefused();
  socket.write(head('/healthz').slice(20));
  expect(await readAll(socket)).toMatch(/^HTTP\/1\.1 200 OK\r\n.*Connection: close\r\n.*"ok"/s);
  expect(await run.waitForExit()).toBe(0);
});

test('connections without a request, half a request and idle ones do not delay the exit', async () => {
  const run = await start();
  const sockets = [await openSocket(), await openSocket(), await openSocket()];
  sockets[1]!.write('GET / HT');
  sockets[2]!.write(head('/healthz'));
  await once(sockets[2]!, 'data');
  for (const socket of sockets) socket.on('error', () => undefined);
  const stoppedAt = Date.now();
  run.child.kill('SIGTERM');
  expect(await run.waitForExit()).toBe(0);
  expect(Date.now() - stoppedAt).toBeLessThan(8_000);
});

test('a request that does not end within ten seconds is cut off; the log says so, and the exit code is 1', async () => {
  const run = await start();
  const slow = send('/api/started').catch((error: NodeJS.ErrnoException) => error.code);
  await waitUntil(() => pending.length === 1);
  const heartbeat = setInterval(() => pending[0]?.write('.'), 1_000); // within the route's timeout
  run.child.kill('SIGTERM');
  expect(await run.waitForExit()).toBe(1);
  clearInterval(heartbeat);
  expect(await slow).toBe('ECONNRESET');
  expect(run.output()).toMatch(/"level":"error".*"requests":1.*were cut off/);
}, 30_000);

test('a second signal changes nothing', async () => {
  const run = await start({ SHUTDOWN_DELAY_SECONDS: '1' });
  await stop(run);
  run.child.kill('SIGINT');
  run.child.kill('SIGTERM');
  expect((await send('/healthz')).status).toBe(200);
  expect(await run.waitForExit()).toBe(0);
});

test('SIGTERM during startup, before the server listens, ends the process with code 0', async () => {
  // A Redis that accepts connections and says nothing.
  const connections = new Set<Socket>();
  const silent = createTcpServer((socket) => connections.add(socket.resume()));
  await once(silent.listen(0, '127.0.0.1'), 'listening');
  const redis = `redis://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const run = startProcess(buildDir, { ...validEnv, REDIS_URL: redis, PORT: await freePort() });
  await run.waitForOutput('provider metadata is not available yet');
  run.child.kill('SIGTERM');
  expect(await run.waitForExit()).toBe(0);
  expect(run.output()).not.toContain('Latchkey is listening');
  silent.close();
  for (const socket of connections) socket.destroy();
});

test('WebSocket handshakes during the delay are answered', async () => {
  const run = await start({ SHUTDOWN_DELAY_SECONDS: '1' });
  await stop(run);
  const socket = new WebSocket(`ws://127.0.0.1:${port}/api/fast`);
  const [, response] = await once(socket, 'unexpected-response');
  expect(response.statusCode).toBe(404);
  socket.on('error', () => undefined).terminate();
  expect(await run.waitForExit()).toBe(0);
});
