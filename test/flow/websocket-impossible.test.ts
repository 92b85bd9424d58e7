import { type ApiWorld, createApiWorld } from '../hostile/support/api-world.ts';
import { formatHead, sendRaw } from '../hostile/support/raw-http.ts';

const key = ['Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version: 13'];

describe('a WebSocket handshake that cannot be performed', () => {
  let api: ApiWorld;
  beforeAll(async () => {
    const row = { methods: { GET: {}, POST: {} }, token: 'none' };
    api = await createApiWorld([
      { ...row, path: '/socket', target: '/socket', webSocket: true },
      { ...row, path: '/plain', target: '/plain' },
    ]);
  });
  afterAll(() => api.close());

  function send(requestLine: string, httpVersion: string, headers: readonly string[]) {
    api.recorder.requests.length = 0;
    const head = String(formatHead(requestLine, ['Host: localhost', ...headers]));
    return sendRaw(api.world.origin, [head.replace('HTTP/1.1', `HTTP/${httpVersion}`)]);
  }

  test.each([
    ['over HTTP/1.0', '1.0', ['Connection: Upgrade', 'Upgrade: websocket', ...key]],
    ['over HTTP/1.0 without a key', '1.0', ['Connection: Upgrade', 'Upgrade: websocket']],
    ['over HTTP/1.0, its Upgrade removed by a proxy', '1.0', ['Connection: close', ...key]],
    ['its Upgrade removed by a proxy', '1.1', ['Connection: close', ...key]],
    ['its Connection replaced by a proxy', '1.1', ['Connection: close', 'Upgrade: websocket', ...key]],
    [
      'of an old version',
      '1.1',
      ['Connection: Upgrade', 'Upgrade: websocket', key[0]!, 'Sec-WebSocket-Version: 8'],
    ],
  ] as const)('gets 426, and the log says why: %s', async (_what, httpVersion, headers) => {
    const { statuses, text } = await send('GET /api/socket', httpVersion, headers);
    expect(statuses).toEqual([426]);
    expect(text).toMatch(/\r\nUpgrade: websocket\r\n/i);
    expect(text).toContain('"upgrade_required"');
    expect(api.recorder.requests).toEqual([]);
    expect(api.world.latchkey.logLines.slice(-3).join('')).toMatch(/"reason":"[^"]*WebSocket/);
  });

  test('is an ordinary request on a route without WebSockets', async () => {
    expect((await send('GET /api/plain', '1.1', ['Connection: close', ...key])).statuses).toEqual([200]);
  });

  test('does not concern other requests to a route with WebSockets', async () => {
    expect((await send('GET /api/socket', '1.1', ['Connection: close'])).statuses).toEqual([200]);
    expect(
      (await send('POST /api/socket', '1.1', ['Connection: close', 'Content-Length: 0'])).statuses,
    ).toEqual([201]);
  });
});
