import type { IncomingMessage, ServerResponse } from 'node:http';
import { type ApiWorld, createApiWorld } from './support/api-world.ts';
import { formatHead, sendRaw, waitUntil } from './support/raw-http.ts';

const mebibyte = 1024 * 1024;
const sizes = [60_000, 300_000, 4 * mebibyte];
const framings = ['by length', 'in chunks'] as const;
type Framing = (typeof framings)[number];
const uploads = framings.flatMap((framing) => sizes.map((bytes) => [framing, bytes] as const));

/** The header that announces the body, and the body in parts. */
function createBody(framing: Framing, bytes: number): { header: string; parts: (string | Buffer)[] } {
  const partBytes = 50_000;
  const parts: (string | Buffer)[] = [];
  for (let sent = 0; sent < bytes; sent += partBytes) {
    const part = Buffer.alloc(Math.min(partBytes, bytes - sent), 'x');
    parts.push(...(framing === 'in chunks' ? [`${part.length.toString(16)}\r\n`, part, '\r\n'] : [part]));
  }
  return framing === 'in chunks'
    ? { header: 'Transfer-Encoding: chunked', parts: [...parts, '0\r\n\r\n'] }
    : { header: `Content-Length: ${bytes}`, parts };
}

const nextRequest = formatHead('GET /healthz', ['Host: localhost', 'Connection: close']);

describe('a response that is sent before the request body was read', () => {
  let api: ApiWorld;
  beforeAll(async () => {
    const row = { methods: { POST: {}, PUT: {} }, timeoutSeconds: 2, bodyLimitBytes: 64 * mebibyte };
    api = await createApiWorld([
      { ...row, path: '/up', target: '/up' },
      { ...row, path: '/small', target: '/small', bodyLimitBytes: 50_000 },
      { ...row, path: '/public', target: '/public', token: 'none' },
      { ...row, path: '/scoped', target: '/scoped', methods: { POST: { allOf: ['admin'] } } },
      { ...row, path: '/limited', target: '/limited', rateLimit: { limit: 1, windowSeconds: 3600 } },
    ]);
  });
  afterAll(() => api.close());
  beforeEach(async () => {
    api.recorder.respondWith(undefined);
    await api.send('POST /api/public', ['Content-Length: 0']); // so that failures do not add up to an open circuit breaker
  });

  /** Sends an upload and then another request on the same connection. */
  async function upload(
    requestLine: string,
    framing: Framing,
    bytes: number,
    {
      headers = [`Cookie: ${api.cookie}`],
      readLate = false,
    }: { headers?: string[]; readLate?: boolean } = {},
  ): Promise<readonly number[]> {
    const { header, parts } = createBody(framing, bytes);
    const head = formatHead(requestLine, ['Host: localhost', header, ...headers]);
    const response = await sendRaw(api.world.origin, [head, ...parts, nextRequest], { readLate });
    return response.statuses;
  }

  function respondEarly(status: number) {
    return (_req: IncomingMessage, res: ServerResponse) => {
      res.writeHead(status, { 'content-type': 'text/plain' }).end('early');
    };
  }

  describe.each([200, 201, 303, 403, 413, 429, 500, 503])('from an API that responds %i early', (status) => {
    test.each(uploads)('leaves the connection usable: %s, %i bytes', async (framing, bytes) => {
      api.recorder.respondWith(respondEarly(status));
      expect(await upload('POST /api/up', framing, bytes)).toEqual([status, 200]);
      await waitUntil(() => api.openRequestCount() === 0);
    });
  });

  test.each(uploads)(
    'reaches a client that reads only after it has sent everything: %s, %i bytes',
    async (framing, bytes) => {
      api.recorder.respondWith(respondEarly(413));
      expect(await upload('POST /api/up', framing, bytes, { readLate: true })).toEqual([413, 200]);
    },
  );

  test('does not stop the upload while a long response is being sent', async () => {
    let response: ServerResponse | undefined;
    api.recorder.respondWith((_req, res) => {
      response = res.writeHead(200);
      res.write('x'.repeat(1000));
    });
    const { header, parts } = createBody('by length', 4 * mebibyte);
    const head = formatHead('POST /api/up', ['Host: localhost', header, `Cookie: ${api.cookie}`]);
    const exchange = sendRaw(api.world.origin, [head, ...parts, nextRequest]);
    await waitUntil(() => response !== undefined);
    response!.end();
    expect((await exchange).statuses).toEqual([200, 200]);
  });

  test.each([
    [
      'responds early and closes',
      'HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
      413,
    ],
    ['closes without a response', '', 502],
    ['responds with half a response', 'HTTP/1.1 200 OK\r\nConte', 502],
  ] as const)('leaves the connection usable when the API %s', async (_how, raw, status) => {
    for (const [framing, bytes] of uploads) {
      api.recorder.respondWith(raw === '' ? (req) => req.socket.destroy() : raw);
      expect([framing, bytes, ...(await upload('POST /api/up', framing, bytes))]).toEqual([
        framing,
        bytes,
        status,
        200,
      ]);
    }
  });

  test('leaves the connection usable when the access token was refreshed meanwhile', async () => {
    api.recorder.respondWith(respondEarly(401));
    expect(await upload('POST /api/up', 'in chunks', mebibyte)).toEqual([401, 200]);
  });

  describe.each([
    ['401 without a session', 'POST /api/up', [], 401],
    ['403 for a missing scope', 'POST /api/scoped', undefined, 403],
    ['403 for a request of another site', 'POST /api/public', ['Sec-Fetch-Site: cross-site'], 403],
    ['404', 'POST /api/nowhere', undefined, 404],
    ['404 of a page', 'POST /nowhere', undefined, 404],
    ['404 of an asset', 'POST /auth/assets/nothing.css', undefined, 404],
    ['405', 'PATCH /api/up', undefined, 405],
    ['204 of OPTIONS', 'OPTIONS /api/up', undefined, 204],
    ['303 to the provider', 'GET /profile', ['Accept: text/html'], 303],
    ['200 of a page', 'GET /auth/signed-out', [], 200],
    ['200 of /healthz', 'GET /healthz', [], 200],
    ['405 for a body of a GET request', 'GET /api/public', [], 405],
  ] as const)('%s', (_what, requestLine, headers, status) => {
    test.each(uploads)('leaves the connection usable: %s, %i bytes', async (framing, bytes) => {
      const options = headers ? { headers: [...headers] } : {};
      expect(await upload(requestLine, framing, bytes, options)).toEqual([status, 200]);
    });
  });

  test('429 leaves the connection usable', async () => {
    await api.send('POST /api/limited');
    for (const [framing, bytes] of uploads)
      expect(await upload('POST /api/limited', framing, bytes)).toEqual([429, 200]);
  });

  test.each(uploads)(
    '413 for a body over the limit of the route arrives, and closes the connection: %s, %i bytes',
    async (framing, bytes) => {
      for (const readLate of [false, true])
        expect(await upload('POST /api/small', framing, bytes, { readLate })).toEqual([413]);
    },
  );

  test('closes the connection after a body of more than 16 MiB that nobody reads, and says so', async () => {
    const bytes = 17 * mebibyte;
    const { header, parts } = createBody('by length', bytes);
    const head = formatHead('POST /api/up', ['Host: localhost', header]);
    const { statuses, text } = await sendRaw(api.world.origin, [head, ...parts.slice(0, 100), nextRequest]);
    expect(statuses).toEqual([401]);
    expect(text).toMatch(/\r\nConnection: close\r\n/i);
  });

  test('closes the connection when a chunked body that nobody reads exceeds 16 MiB', async () => {
    expect(await upload('POST /api/up', 'in chunks', 64 * mebibyte, { headers: [] })).toEqual([401]);
  });

  test('a request after a response with Connection: close is not processed', async () => {
    const { header, parts } = createBody('by length', 4 * mebibyte);
    const head = formatHead('POST /api/small', ['Host: localhost', header, `Cookie: ${api.cookie}`]);
    const next = formatHead('POST /api/public', ['Host: localhost', 'Content-Length: 0']);
    api.recorder.requests.length = 0;
    expect((await sendRaw(api.world.origin, [head, ...parts, next])).statuses).toEqual([413]);
    expect(api.recorder.requests).toEqual([]);
  });

  describe('for a client that waits for 100 Continue', () => {
    const expectation = ['Expect: 100-continue', 'Content-Length: 60000'];

    test.each([
      ['POST /api/small', 413, []],
      ['POST /api/up', 401, []],
      ['POST /api/nowhere', 404, []],
      ['PATCH /api/up', 405, []],
      ['POST /auth/console', 403, ['Sec-Fetch-Site: cross-site']],
    ] as const)(
      'is sent without 100, and closes the connection: %s %i',
      async (requestLine, status, headers) => {
        const cookie = status === 401 ? [] : [`Cookie: ${api.cookie}`];
        const lines = ['Host: localhost', 'Expect: 100-continue', 'Content-Length: 60000', ...cookie];
        const head = formatHead(requestLine, [...lines, ...headers]);
        const { statuses, text } = await sendRaw(api.world.origin, [head]);
        expect(statuses).toEqual([status]);
        expect(text).toMatch(/\r\nConnection: close\r\n/i);
      },
    );

    test('100 is sent when the body is read, and the connection stays usable', async () => {
      const head = formatHead('POST /api/up', ['Host: localhost', `Cookie: ${api.cookie}`, ...expectation]);
      const body = Buffer.alloc(60_000, 'x');
      const { statuses } = await sendRaw(api.world.origin, [head, body, nextRequest]);
      expect(statuses).toEqual([100, 201, 200]);
    });

    test('100 is sent for an upload that is streamed', async () => {
      const lines = [
        'Host: localhost',
        `Cookie: ${api.cookie}`,
        'Expect: 100-continue',
        'Content-Length: 300000',
      ];
      const body = Buffer.alloc(300_000, 'x');
      const { statuses } = await sendRaw(api.world.origin, [
        formatHead('POST /api/up', lines),
        body,
        nextRequest,
      ]);
      expect(statuses).toEqual([100, 201, 200]);
    });
  });
});
