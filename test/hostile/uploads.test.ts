import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { type ApiWorld, createApiWorld } from './support/api-world.ts';
import { formatHead, waitUntil } from './support/raw-http.ts';

const mebibyte = 1024 * 1024;
const chunk = (bytes: number) => `${bytes.toString(16)}\r\n${'x'.repeat(bytes)}\r\n`;

describe('a slow upload', () => {
  let api: ApiWorld;
  beforeAll(async () => {
    api = await createApiWorld([
      {
        path: '/upload',
        target: '/upload',
        methods: { POST: {} },
        timeoutSeconds: 1,
        bodyLimitBytes: 64 * mebibyte,
      },
    ]);
  });
  afterAll(() => api.close());
  beforeEach(() => api.recorder.respondWith(undefined));

  test.each([
    ['a small body', ['Content-Length: 100'], '{"a":'],
    ['a large body', [`Content-Length: ${mebibyte}`], 'x'.repeat(1000)],
    ['a chunked body', ['Transfer-Encoding: chunked'], chunk(10)],
    ['a chunked body before its first chunk', ['Transfer-Encoding: chunked'], ''],
  ])('gets 408 when the browser stalls: %s', async (_what, headers, firstBytes) => {
    const { response, forwarded } = await api.sendAndRecord('POST /api/upload', headers, [firstBytes]);
    expect(response.statuses).toEqual([408]);
    expect(response.text).toContain('"request_timeout"');
    expect(response.text).toMatch(/\r\nConnection: close\r\n/i);
    await waitUntil(() => api.openRequestCount() === 0);
    for (const each of forwarded) expect((await each.body).isWhole).toBe(false);
  });

  test('is forwarded completely as long as bytes keep arriving', async () => {
    const { hostname, port } = new URL(api.world.origin);
    const startedAt = Date.now();
    async function* slowBody() {
      for (let part = 0; part < 8; part += 1) {
        yield Buffer.alloc(1000, 'x');
        await delay(250);
      }
    }
    api.recorder.requests.length = 0;
    const response = await fetch(`http://${hostname}:${port}/api/upload`, {
      method: 'POST',
      headers: { cookie: api.cookie },
      body: slowBody() as never,
      duplex: 'half',
    } as RequestInit);
    expect([response.status, (await api.recorder.requests[0]!.body).bytes]).toEqual([201, 8000]);
    expect(Date.now() - startedAt).toBeGreaterThan(1_900); // nearly twice the time it may stall
  });

  test.each([
    ['a small body', 'Content-Length: 60000', 'x'],
    ['a large body', `Content-Length: ${mebibyte}`, 'x'],
    ['a chunked body', 'Transfer-Encoding: chunked', chunk(1)],
  ])('gets 408 when it never stalls but arrives byte by byte: %s', async (_what, framing, part) => {
    const { port } = new URL(api.world.origin);
    const socket = connect(Number(port), '127.0.0.1');
    const head = ['Host: localhost', `Cookie: ${api.cookie}`, framing];
    socket.write(formatHead('POST /api/upload', head));
    let text = '';
    socket.on('data', (data) => {
      text += data;
    });
    const startedAt = Date.now();
    const timer = setInterval(() => socket.write(part), 100);
    await once(socket, 'end');
    clearInterval(timer);
    socket.destroy();
    expect(text).toMatch(/^HTTP\/1\.1 408 /);
    expect(Date.now() - startedAt).toBeLessThan(5_000);
    await waitUntil(() => api.openRequestCount() === 0);
  });

  test('gets 504 when the API does not read it', async () => {
    api.recorder.respondWith((req) => req.pause()); // it reads no more than its buffers hold
    const body = [...Array(32)].map(() => Buffer.alloc(mebibyte, 'x'));
    const { response } = await api.sendAndRecord(
      'POST /api/upload',
      [`Content-Length: ${32 * mebibyte}`],
      body,
    );
    expect(response.statuses).toEqual([504]);
    expect(response.text).toContain('"upstream_timeout"');
    await waitUntil(() => api.openRequestCount() === 0);
  });

  test('gets 504 when the API reads it and does not respond', async () => {
    api.recorder.respondWith(() => undefined);
    const { response } = await api.sendAndRecord(
      'POST /api/upload',
      ['Content-Length: 70000'],
      [Buffer.alloc(70_000, 'x')],
    );
    expect(response.statuses).toEqual([504]);
    await waitUntil(() => api.openRequestCount() === 0);
  });
});
