import { setTimeout as delay } from 'node:timers/promises';
import { type ApiWorld, createApiWorld } from './support/api-world.ts';
import { waitUntil } from './support/wire.ts';

const mebibyte = 1024 * 1024;
const chunk = (bytes: number) => `${bytes.toString(16)}\r\n${'x'.repeat(bytes)}\r\n`;

describe('a body that takes its time', () => {
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
    ['a small one', ['Content-Length: 100'], '{"a":'],
    ['a large one', [`Content-Length: ${mebibyte}`], 'x'.repeat(1000)],
    ['one in chunks', ['Transfer-Encoding: chunked'], chunk(10)],
    ['one in chunks that never begins', ['Transfer-Encoding: chunked'], ''],
  ])('and is silent for too long is 408: %s', async (_what, headers, begun) => {
    const { response, forwarded } = await api.sendAndRecord('POST /api/upload', headers, [begun]);
    expect(response.statuses).toEqual([408]);
    expect(response.text).toContain('"request_timeout"');
    expect(response.text).toMatch(/\r\nConnection: close\r\n/i);
    await waitUntil(() => api.openRequestCount() === 0);
    for (const each of forwarded) expect((await each.body).isWhole).toBe(false);
  });

  test('but goes on arrives whole, however long it takes', async () => {
    const { hostname, port } = new URL(api.world.origin);
    const begun = Date.now();
    async function* slowly() {
      for (let part = 0; part < 8; part += 1) {
        yield Buffer.alloc(1000, 'x');
        await delay(250);
      }
    }
    api.recorder.requests.length = 0;
    const response = await fetch(`http://${hostname}:${port}/api/upload`, {
      method: 'POST',
      headers: { cookie: api.cookie },
      body: slowly() as never,
      duplex: 'half',
    } as RequestInit);
    expect([response.status, (await api.recorder.requests[0]!.body).bytes]).toEqual([201, 8000]);
    expect(Date.now() - begun).toBeGreaterThan(1_900); // nearly twice the time for which it may be silent
  });

  test('at an API that does not take it is 504', async () => {
    api.recorder.respondWith((req) => req.pause()); // it reads no more than fits its buffers
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

  test('at an API that takes it and says nothing is 504', async () => {
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
