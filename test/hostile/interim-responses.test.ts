import type { IncomingMessage } from 'node:http';
import { type ApiWorld, createApiWorld } from './support/api-world.ts';
import { waitUntil } from './support/raw-http.ts';

const handshake = [
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Version: 13',
];

/** Sends `first`, and then `piece` again and again. */
function drip(first: string, piece: string) {
  return ({ socket }: IncomingMessage) => {
    socket.write(first);
    const timer = setInterval(() => socket.write(piece), 50);
    socket.on('error', () => undefined).on('close', () => clearInterval(timer));
  };
}

describe('an API that never sends its final response', () => {
  let api: ApiWorld;
  beforeAll(async () => {
    const row = { methods: { GET: {}, POST: {} }, timeoutSeconds: 1 };
    api = await createApiWorld([
      { ...row, path: '/data', target: '/data' },
      { ...row, path: '/socket', target: '/socket', webSocket: true },
    ]);
  });
  afterAll(() => api.close());
  afterEach(() => waitUntil(() => api.openRequestCount() === 0));

  test.each([
    ['interim responses', drip('', 'HTTP/1.1 103 Early Hints\r\n\r\n')],
    ['one header byte by byte', drip('HTTP/1.1 200 OK\r\nX-A: ', 'a')],
    ['one header after another', drip('HTTP/1.1 200 OK\r\n', 'X-A: a\r\n')],
  ])('gets 504 after timeoutSeconds although it keeps sending %s', async (_what, respond) => {
    api.recorder.respondWith(respond);
    const requests = [
      api.send('GET /api/data'),
      api.send('POST /api/data', ['Content-Length: 2'], ['ok']),
      api.send('POST /api/data', ['Transfer-Encoding: chunked'], ['2\r\nok\r\n0\r\n\r\n']),
      api.send('GET /api/socket', handshake),
    ];
    for (const each of requests) expect((await each).statuses).toEqual([504]);
  });

  test.each(['000', '042', '099'])('gets 502 for a status that is none: %s', async (status) => {
    api.recorder.respondWith(`HTTP/1.1 ${status} OK\r\nContent-Length: 2\r\n\r\nok`);
    expect((await api.send('GET /api/data')).statuses).toEqual([502]);
    expect((await api.send('GET /api/socket', handshake)).statuses).toEqual([502]);
  });
});

describe('an API that sends interim responses that nobody asked for', () => {
  let api: ApiWorld;
  beforeAll(async () => {
    const row = { methods: { GET: {}, POST: {} } };
    api = await createApiWorld([
      { ...row, path: '/data', target: '/data' },
      { ...row, path: '/events', target: '/events', stream: true },
    ]);
  });
  afterAll(() => api.close());
  afterEach(() => waitUntil(() => api.openRequestCount() === 0));

  const goOn = 'HTTP/1.1 100 Continue\r\n\r\n';
  const hints = 'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n';
  // The body looks like an interim response, and must arrive whole.
  const ok = `HTTP/1.1 200 OK\r\nContent-Length: ${goOn.length}\r\n\r\n${goOn}`;

  test.each([
    ['100 once', [goOn + ok]],
    ['100 twice', [goOn + goOn + ok]],
    ['100 with headers', [goOn.replace('\r\n', '\r\nX-A: b\r\n') + ok]],
    ['100 in HTTP/1.0', [goOn.replace('1.1', '1.0') + ok]],
    ['100, 102, 103 and 100', [goOn, 'HTTP/1.1 102 Processing\r\n\r\n', hints + goOn, ok]],
    ['100 byte by byte', [...goOn, ok]],
    ['100 without a reason, and a body in pieces', ['HTTP/1.1 100\r\n\r\n', ok.slice(0, -goOn.length), goOn]],
  ])('is forwarded, and its connection is used again: %s', async (_what, pieces) => {
    api.recorder.respondWith(({ socket }: IncomingMessage) => {
      socket.setNoDelay();
      const writeNext = (index: number) => {
        if (index === pieces.length || socket.destroyed) return;
        socket.write(pieces[index]!);
        setTimeout(() => writeNext(index + 1), 3);
      };
      writeNext(0);
    });
    for (const path of ['data', 'events']) {
      const results = [
        await api.send(`GET /api/${path}`),
        await api.send(`POST /api/${path}`, ['Content-Length: 2'], ['ok']),
        await api.send(`POST /api/${path}`, ['Transfer-Encoding: chunked'], ['2\r\nok\r\n0\r\n\r\n']),
      ];
      for (const { statuses, text } of results) {
        expect(statuses[0]).toBe(200);
        expect(text).toContain(goOn);
      }
    }
  });
});
