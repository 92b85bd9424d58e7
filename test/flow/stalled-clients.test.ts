import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Agent } from 'undici';
import { readRecord, readSession } from '../hostile/support/logged-in.ts';
import { waitUntil } from '../hostile/support/raw-http.ts';
import { type Recorder, startRecorder } from '../hostile/support/recorder.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { createWorld, type World } from '../support/world.ts';

describe('with CLIENT_READ_TIMEOUT_SECONDS=1, a client', () => {
  let world: World;
  let recorder: Recorder;
  let cookie: string;
  let apiResponse: ServerResponse;
  beforeAll(async () => {
    recorder = await startRecorder();
    world = await createWorld({
      store: 'memory',
      env: {
        OAUTH2_API_BASE_URL: recorder.url,
        CLIENT_READ_TIMEOUT_SECONDS: '1',
        API_ROUTES_FILE: writeRoutesFile([
          { path: '/large', target: '/large', methods: { GET: {} }, token: 'none', timeoutSeconds: 30 },
          { path: '/events', target: '/events', methods: { GET: {} }, stream: true },
        ]),
      },
    });
    const browser = world.browser();
    await world.signIn(browser);
    const session = await readSession(browser);
    expect(await readRecord(world, session.id)).toBeDefined();
    cookie = session.cookie;
  });
  afterAll(async () => {
    await recorder.close();
    await world.close();
  });

  /** The API sends as much as is read. */
  function sendWithoutEnd(contentType: string): void {
    recorder.respondWith((_req, res) => {
      apiResponse = res;
      res.writeHead(200, { 'content-type': contentType });
      const chunk = `data: ${'x'.repeat(65_000)}\n\n`;
      const fill = () => {
        while (!res.closed && res.write(chunk));
      };
      res.on('drain', fill);
      fill();
    });
  }

  async function get(path: string): Promise<Socket> {
    const socket = connect(Number(new URL(world.origin).port), '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nCookie: ${cookie}\r\n\r\n`);
    await once(socket, 'data');
    return socket;
  }

  test.each([
    ['a large response', '/api/large', 'application/octet-stream'],
    ['an event stream', '/api/events', 'text/event-stream'],
  ])('that does not read %s is disconnected, and so is the API', async (_what, path, type) => {
    sendWithoutEnd(type);
    const socket = await get(path);
    const apiClosed = once(apiResponse, 'close');
    socket.pause();
    await apiClosed;
    socket.destroy();
    expect(world.latchkey.logLines.join('')).toContain('client disconnected: it does not read');
  });

  test('that reads slowly stays connected', async () => {
    sendWithoutEnd('application/octet-stream');
    const socket = await get('/api/large');
    for (let n = 0; n < 12; n += 1) {
      socket.pause();
      await delay(200); // shorter than the limit, as the behaviour is about time
      socket.resume();
      for (let bytes = 0; bytes < 2_000_000; ) bytes += (await once(socket, 'data'))[0].length;
    }
    expect(apiResponse.closed).toBe(false);
    socket.destroy();
  });

  test('that waits for an event stays connected', async () => {
    recorder.respondWith((_req, res) => {
      apiResponse = res;
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write('data: 1\n\n');
    });
    const socket = await get('/api/events');
    await delay(1_600); // longer than the limit
    apiResponse.write('data: 2\n\n');
    const [data] = await once(socket, 'data');
    expect(String(data)).toContain('data: 2');
    socket.destroy();
  });
});

test('with MAX_UPSTREAM_CONNECTIONS=3, a fourth request to a slow API gets 503 at once, and none waits in a queue', async () => {
  const recorder = await startRecorder();
  const world = await createWorld({
    store: 'memory',
    env: {
      OAUTH2_API_BASE_URL: recorder.url,
      MAX_UPSTREAM_CONNECTIONS: '3',
      API_ROUTES_FILE: writeRoutesFile([
        { path: '/slow', target: '/slow', methods: { GET: {} }, token: 'none' },
      ]),
    },
  });
  try {
    const waiting: ServerResponse[] = [];
    recorder.respondWith((_req, res) => void waiting.push(res));
    const call = () => fetch(`${world.origin}/api/slow`);
    const slow = [call(), call(), call()];
    await waitUntil(() => waiting.length === 3);
    const refused = await call();
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    expect(await refused.json()).toMatchObject({ limit: 'MAX_UPSTREAM_CONNECTIONS' });
    for (const each of waiting) each.end('done');
    for (const each of await Promise.all(slow)) expect(await each.text()).toBe('done');
    recorder.respondWith(undefined);
    expect((await call()).status).toBe(200);
  } finally {
    await recorder.close();
    await world.close();
  }
});

test('with MAX_UPSTREAM_CONNECTIONS=3, calls that nothing counted open three connections to an API at most', async () => {
  const recorder = await startRecorder();
  const env = { OAUTH2_API_BASE_URL: recorder.url, MAX_UPSTREAM_CONNECTIONS: '3' };
  const world = await createWorld({ store: 'memory', env });
  try {
    const waiting: ServerResponse[] = [];
    recorder.respondWith((_req, res) => void waiting.push(res));
    const agent = world.latchkey.deps.upstream as Agent;
    const calls = [1, 2, 3, 4].map(() => agent.request({ origin: recorder.url, path: '/', method: 'GET' }));
    const responses = Promise.all(calls);
    responses.catch(() => undefined); // an assertion that fails ends the test earlier
    await waitUntil(() => waiting.length === 3);
    expect(agent.stats[recorder.url]).toMatchObject({ connected: 3, queued: 1 });
    waiting[0]!.end();
    await waitUntil(() => waiting.length === 4);
    for (const each of waiting) each.end();
    for (const { body } of await responses) await body.dump();
  } finally {
    await recorder.close();
    await world.close();
  }
});
