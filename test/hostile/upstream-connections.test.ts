import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { writeRoutesFile } from '../support/routes-file.ts';
import { createWorld, type World } from '../support/world.ts';
import { readSession } from './support/logged-in.ts';
import { formatHead, waitUntil } from './support/raw-http.ts';
import { type Recorder, startRecorder } from './support/recorder.ts';

let world: World;
let recorder: Recorder;
let cookies: Record<'alice' | 'bob', readonly [string, string]>;
const sockets: Socket[] = [];

async function start(env: Readonly<Record<string, string>>, timeoutSeconds: number): Promise<void> {
  recorder = await startRecorder();
  const row = { methods: { GET: {}, POST: {} }, timeoutSeconds, bodyLimitBytes: 1_000_000, webSocket: true };
  world = await createWorld({
    store: 'memory',
    env: {
      OAUTH2_API_BASE_URL: recorder.url,
      OAUTH2_SCOPES: 'openid read:profile',
      API_ROUTES_FILE: writeRoutesFile([
        { ...row, path: '/data', target: '/data' },
        { ...row, path: '/open', target: '/open', token: 'none' },
        { methods: { GET: {} }, path: '/profile', target: '/profile', timeoutSeconds },
      ]),
      ...env,
    },
  });
  const readCookie = async (user: string) => {
    const browser = world.browser();
    await world.signIn(browser, user);
    return (await readSession(browser)).cookie;
  };
  const readCookies = async (user: string) => [await readCookie(user), await readCookie(user)] as const;
  cookies = { alice: await readCookies('alice'), bob: await readCookies('bob') };
}

/** Also after a failed test: the process of the tests ends only when nothing is left open. */
async function stop(): Promise<void> {
  for (const socket of sockets.splice(0)) socket.destroy();
  await recorder?.close(); // first, as the world waits for the calls that it has in progress
  await world?.close();
}

/** Sends bytes on a new connection, which stays open until the test ends. */
function send(...parts: readonly (Buffer | string)[]) {
  const socket = connect(Number(new URL(world.origin).port), '127.0.0.1');
  sockets.push(socket);
  let text = '';
  socket.on('error', () => undefined);
  socket.on('data', (data) => {
    text += data.toString('latin1');
  });
  for (const part of parts) socket.write(part);
  return { socket, text: () => text, status: () => Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0) };
}

const headOf = (line: string, cookie: string, headers: readonly string[]) =>
  formatHead(line, ['Host: localhost', ...(cookie === '' ? [] : [`Cookie: ${cookie}`]), ...headers]);

const call = (path: string, cookie: string) => fetch(world.origin + path, { headers: { cookie } });

const stalledBodies: readonly (readonly [string, readonly string[], string])[] = [
  ['chunked uploads', ['Transfer-Encoding: chunked'], '1\r\nx\r\n'],
  ['small bodies', ['Content-Length: 60000'], 'x'],
  ['forms', ['Content-Type: application/x-www-form-urlencoded', 'Content-Length: 260000'], 'x'],
];

describe('when one account stalls 240 uploads in two sessions, with room for 230 connections to the API,', () => {
  beforeAll(() => start({ MAX_UPSTREAM_CONNECTIONS: '230' }, 60));
  afterAll(stop);
  beforeEach(() => recorder.respondWith(undefined));

  test.each(stalledBodies)(
    '40 get 429 that names the setting, and others are served: %s',
    async (_what, headers, firstBytes) => {
      const stalled = Array.from({ length: 240 }, (_each, n) =>
        send(headOf('POST /api/data', cookies.alice[n % 2]!, headers), firstBytes),
      );
      await waitUntil(() => stalled.filter(({ status }) => status() !== 0).length === 40);
      for (const { text, status } of stalled.filter((each) => each.status() !== 0)) {
        expect(status()).toBe(429);
        expect(text()).toContain('"limit":"MAX_UPSTREAM_CONNECTIONS_PER_USER"');
        expect(text()).toMatch(/\r\nRetry-After: 1\r\n/i);
      }
      const others = Array.from({ length: 10 }, () => [
        call('/api/data', cookies.bob[0]),
        call('/api/open', ''),
      ]);
      for (const each of await Promise.all(others.flat())) expect(each.status).toBe(200);
      expect(stalled.filter(({ status }) => status() === 0)).toHaveLength(200);

      for (const { socket } of stalled) socket.destroy();
      await waitUntilServed('/api/data', cookies.alice[0]);
    },
  );
});

/** Repeats a call while it gets 429, for at most two seconds. */
async function waitUntilServed(path: string, cookie: string): Promise<void> {
  for (const deadline = Date.now() + 2_000; ; ) {
    const { status } = await call(path, cookie);
    if (status !== 429 || Date.now() > deadline) return expect(status).toBe(200);
  }
}

type Respond = Parameters<Recorder['respondWith']>[0];
const handshake = (version: number) => [
  ...['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='],
  `Sec-WebSocket-Version: ${version}`,
];
const silence: Respond = () => undefined;
const acceptWebSocket: Respond = (req, res) => {
  const accept = createHash('sha1')
    .update(`${req.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64');
  req.socket.on('error', () => res.destroy());
  const lines = ['HTTP/1.1 101 OK', 'Connection: Upgrade', 'Upgrade: websocket'];
  req.socket.write(`${lines.join('\r\n')}\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
};
const [chunked, small] = [['Transfer-Encoding: chunked'], ['Content-Length: 60000']];

/** What is sent, the response of the API, and the status after which the client disconnects; with 0, when the API has the request. */
type Ending = readonly [string, string, readonly string[], string, Respond, number];
const endings: readonly Ending[] = [
  ['a response', 'GET', [], '', undefined, 200],
  ['a slow call that its client aborts', 'GET', [], '', silence, 0],
  ['a slow call that times out', 'GET', [], '', silence, 504],
  ['a call whose connection the API closes', 'GET', [], '', '\r\n', 502],
  ['a small body that its client aborts', 'POST', [...small, 'Expect: 100-continue'], '', undefined, 100],
  ['a small body that stalls', 'POST', small, 'x', undefined, 408],
  ['an upload that its client aborts', 'POST', chunked, '1\r\nx\r\n', silence, 0],
  ['an upload that stalls', 'POST', chunked, '1\r\nx\r\n', silence, 408],
  [
    'an upload with an early response',
    'POST',
    chunked,
    '1\r\nx\r\n',
    (_req, res) => res.writeHead(413).end(),
    413,
  ],
  ['a body over the limit of the route', 'POST', ['Content-Length: 2000000'], 'x', undefined, 413],
  ['a GET request with a body', 'GET', small, 'x', undefined, 400],
  ['a handshake in another version', 'GET', handshake(8), '', undefined, 426],
  ['a handshake that the API rejects', 'GET', handshake(13), '', undefined, 200],
  ['a handshake that its client aborts', 'GET', handshake(13), '', silence, 0],
  ['a handshake that times out', 'GET', handshake(13), '', silence, 504],
  ['a WebSocket', 'GET', handshake(13), '', acceptWebSocket, 101],
];

describe('with MAX_UPSTREAM_CONNECTIONS_PER_USER=1 and the same per address, a second call succeeds after', () => {
  beforeAll(() => {
    return start({ MAX_UPSTREAM_CONNECTIONS_PER_USER: '1', MAX_UPSTREAM_CONNECTIONS_PER_ADDRESS: '1' }, 1);
  });
  afterAll(stop);

  /** Exactly one call is possible at a time: nothing counts too long, and nothing was subtracted twice. */
  async function expectCountOfZero(path: string, cookie: string, setting: string): Promise<void> {
    recorder.respondWith(undefined);
    await waitUntilServed(path, cookie);
    const waiting: ServerResponse[] = [];
    recorder.respondWith((_req, res) => void waiting.push(res));
    const slow = call(path, cookie);
    await waitUntil(() => waiting.length === 1);
    const refused = await call(path, cookie);
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1']);
    expect(await refused.json()).toMatchObject({ limit: setting });
    waiting[0]!.end('done');
    expect(await (await slow).text()).toBe('done');
  }

  test.each(endings)('%s', async (_what, method, headers, body, response, status) => {
    for (const [path, cookie, setting] of [
      ['/api/data', cookies.alice[0], 'MAX_UPSTREAM_CONNECTIONS_PER_USER'],
      ['/api/open', '', 'MAX_UPSTREAM_CONNECTIONS_PER_ADDRESS'],
    ] as const) {
      recorder.respondWith(response);
      recorder.requests.length = 0;
      const sent = send(headOf(`${method} ${path}`, cookie, headers), body);
      await waitUntil(() => (status === 0 ? recorder.requests.length === 1 : sent.status() === status));
      sent.socket.destroy();
      await expectCountOfZero(path, cookie, setting);
    }
  });

  test('a call of the profile page, which counts as well', async () => {
    const waiting: ServerResponse[] = [];
    recorder.respondWith((_req, res) => void waiting.push(res));
    const page = call('/profile', cookies.alice[0]);
    await waitUntil(() => waiting.length === 1);
    expect((await call('/api/data', cookies.alice[1])).status).toBe(429);
    waiting[0]!.end('{}');
    expect((await page).status).toBe(200);
    await expectCountOfZero('/api/data', cookies.alice[0], 'MAX_UPSTREAM_CONNECTIONS_PER_USER');
  });
});
