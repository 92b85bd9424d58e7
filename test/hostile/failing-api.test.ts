import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { type ApiWorld, createApiWorld } from './support/api-world.ts';
import { formatHead, sendRaw, waitUntil } from './support/raw-http.ts';

describe('while the circuit breaker of a route is open', () => {
  let api: ApiWorld;
  beforeEach(async () => {
    api = await createApiWorld(
      [
        {
          path: '/small',
          target: '/small',
          token: 'none',
          methods: { GET: {}, POST: {} },
          bodyLimitBytes: 1000,
        },
        { path: '/large', target: '/large', token: 'none', methods: { GET: {}, POST: {} } },
      ],
      { TRUST_PROXY: '1' },
    );
    api.recorder.respondWith((_req, res) => res.writeHead(503, { 'retry-after': '1' }).end());
    for (const route of ['GET /api/small', 'POST /api/small', 'POST /api/large'])
      for (let caller = 0; caller < 10; caller += 1)
        await api.send(route, [`X-Forwarded-For: 10.0.0.${caller}`]);
  });
  afterEach(() => api.close());

  const chunked = () => ['Host: localhost', `Cookie: ${api.cookie}`, 'Transfer-Encoding: chunked'];

  test('an oversized chunked body fails only its own request', async () => {
    const body = `7d0\r\n${'x'.repeat(2000)}\r\n0\r\n\r\n`;
    const { statuses } = await sendRaw(api.world.origin, [
      formatHead('POST /api/small', [...chunked(), 'Connection: close']),
      body,
    ]);
    expect(statuses).toEqual([503]);
    await delay(100); // an unhandled error would have ended the process by now
    expect((await api.send('GET /healthz')).statuses).toEqual([200]);
  });

  test('a large body is read to its end, and the next request on the connection is served', async () => {
    const body = Buffer.alloc(3_000_000, 'x');
    const { statuses } = await sendRaw(api.world.origin, [
      formatHead('POST /api/large', [
        'Host: localhost',
        `Cookie: ${api.cookie}`,
        `Content-Length: ${body.length}`,
      ]),
      body,
      formatHead('GET /healthz', ['Host: localhost', 'Connection: close']),
    ]);
    expect(statuses).toEqual([503, 200]);
  });

  test('other requests do not wait for a slow upload that serves as the probe', async () => {
    await delay(1_100);
    api.recorder.respondWith((req, res) => (req.url === '/large?probe' ? req.resume() : res.end('ok')));
    const upload = connect({ port: Number(new URL(api.world.origin).port), host: '127.0.0.1' });
    upload.write(formatHead('POST /api/large?probe', chunked()));
    upload.write('1\r\nx\r\n');
    await waitUntil(() => api.openRequestCount() === 1);
    expect((await api.send('POST /api/large')).statuses).toEqual([503]);
    while ((await api.send('POST /api/large')).statuses[0] === 503) await delay(50); // until the next probe is due
    expect(api.openRequestCount()).toBe(1);
    upload.destroy();
  });

  test('a probe aborted by its client does not close the circuit', async () => {
    await delay(1_100);
    api.recorder.respondWith(() => undefined);
    const requestsBefore = api.recorder.requests.length;
    const probe = connect({ port: Number(new URL(api.world.origin).port), host: '127.0.0.1' });
    probe.write(formatHead('GET /api/small', ['Host: localhost', `Cookie: ${api.cookie}`]));
    await waitUntil(() => api.recorder.requests.length === requestsBefore + 1);
    probe.destroy();
    await waitUntil(() => api.openRequestCount() === 0);
    expect((await api.send('GET /api/small')).statuses).toEqual([503]);
    expect(api.recorder.requests).toHaveLength(requestsBefore + 1);
  });
});

test('a 401 or 503 response whose body never ends delays neither the refresh nor the retry', async () => {
  const api = await createApiWorld([
    { path: '/events', target: '/events', methods: { GET: {} }, stream: true },
    { path: '/plain', target: '/plain', methods: { GET: {} } },
  ]);
  for (const status of [401, 503]) {
    let calls = 0;
    api.recorder.respondWith((_req, res) => {
      calls += 1;
      if (calls > 1) res.end('at last');
      else res.writeHead(status, { 'content-length': '10' }).flushHeaders();
    });
    const startedAt = Date.now();
    const response = await api.send(`GET /api/${status === 401 ? 'events' : 'plain'}`);
    expect([response.statuses, calls]).toEqual([[200], 2]);
    expect(Date.now() - startedAt).toBeLessThan(2_000);
    await waitUntil(() => api.openRequestCount() === 0);
  }
  await api.close();
});
