import { type ApiWorld, createApiWorld } from './support/api-world.ts';
import { formatHead, sendRaw, waitUntil } from './support/raw-http.ts';

const limit = 10 * 1024 * 1024;
const chunk = (bytes: number) =>
  Buffer.concat([Buffer.from(`${bytes.toString(16)}\r\n`), Buffer.alloc(bytes, 'x'), Buffer.from('\r\n')]);
const lastChunk = '0\r\n\r\n';
const smuggled = 'GET /api/data?smuggled HTTP/1.1\r\nHost: x\r\n\r\n';

describe('a request body', () => {
  let api: ApiWorld;
  beforeAll(async () => {
    api = await createApiWorld([
      { path: '/profile', target: '/api/user/profile', methods: { GET: {} } },
      { path: '/data', target: '/api/user/data', methods: { GET: {}, POST: { allOf: ['write:data'] } } },
      { path: '/any', target: '/any', methods: { POST: {}, PUT: {}, PATCH: {}, DELETE: {}, OPTIONS: {} } },
    ]);
  });
  afterAll(() => api.close());
  beforeEach(() => api.recorder.respondWith(undefined));

  const json = 'Content-Type: application/json';

  test.each([
    ['with its length', ['Content-Length: 7'], ['{"a":1}']],
    ['in chunks', ['Transfer-Encoding: chunked'], ['3\r\n{"a\r\n', '4;ext=1\r\n":1}\r\n', lastChunk]],
    ['in chunks, with unusual spelling', ['Transfer-Encoding: Chunked'], ['07\r\n{"a":1}\r\n', lastChunk]],
    [
      'in chunks with a trailer',
      ['Transfer-Encoding: chunked'],
      ['7\r\n{"a":1}\r\n0\r\nAuthorization: x\r\n\r\n'],
    ],
    ['after 100-continue', ['Content-Length: 7', 'Expect: 100-continue'], ['{"a":1}']],
  ])('reaches the API in full, exactly once: %s', async (_how, headers, body) => {
    const { response, forwarded } = await api.sendAndRecord('POST /api/data', [json, ...headers], body);
    expect(forwarded).toHaveLength(1);
    expect(await forwarded[0]!.body).toEqual({ bytes: 7, isWhole: true, text: '{"a":1}' });
    const names = forwarded[0]!.headers.map(([name]) => name);
    expect(names.filter((name) => ['content-length', 'transfer-encoding'].includes(name))).toHaveLength(1);
    for (const name of ['expect', 'trailer', 'te']) expect(names).not.toContain(name);
    expect(names.filter((name) => name === 'authorization')).toHaveLength(1);
    expect(response.statuses.at(-1)).toBe(201);
  });

  test.each([
    [
      'Content-Length before Transfer-Encoding',
      ['Content-Length: 3', 'Transfer-Encoding: chunked'],
      [lastChunk, smuggled],
    ],
    [
      'Transfer-Encoding before Content-Length',
      ['Transfer-Encoding: chunked', 'Content-Length: 5'],
      [lastChunk, smuggled],
    ],
    ['two Content-Length headers', ['Content-Length: 0', 'Content-Length: 44'], [smuggled]],
    ['two lengths in one header', ['Content-Length: 0, 44'], [smuggled]],
    ['a negative length', ['Content-Length: -1'], [smuggled]],
    ['a length with a sign', ['Content-Length: +44'], [smuggled]],
    ['a hexadecimal length', ['Content-Length: 0x2c'], [smuggled]],
    ['a length that exceeds every number type', [`Content-Length: 1${'0'.repeat(30)}`], ['x']],
    ['an unknown transfer coding', ['Transfer-Encoding: xchunked'], [lastChunk]],
    ['chunked before another coding', ['Transfer-Encoding: chunked, identity'], [lastChunk, smuggled]],
    ['a space before the colon of Transfer-Encoding', ['Transfer-Encoding : chunked'], [lastChunk, smuggled]],
    ['a vertical tab before chunked', ['Transfer-Encoding: \vchunked'], [lastChunk, smuggled]],
    [
      'a folded Transfer-Encoding header',
      ['Transfer-Encoding:\r\n chunked', 'Content-Length: 5'],
      [lastChunk, smuggled],
    ],
    ['an unknown expectation', ['Content-Length: 1', 'Expect: 200-maybe'], ['x']],
  ])('is rejected before anything reaches the API: %s', async (_how, headers, body) => {
    const { response, forwarded } = await api.sendAndRecord('POST /api/data', [json, ...headers], body);
    expect(forwarded).toEqual([]);
    expect(response.statuses).toHaveLength(1);
    expect(response.statuses[0]).toBeGreaterThanOrEqual(400);
    expect(response.statuses[0]).toBeLessThan(500);
  });

  test.each([
    ['a size that is not a number', 'zz\r\nab\r\n'],
    ['a negative size', '-1\r\nab\r\n'],
    ['a size that exceeds every number type', `${'F'.repeat(20)}\r\nab\r\n`],
    ['a size with the prefix 0x', '0x2\r\nab\r\n'],
    ['a bare line feed after its size', '2\nab\n'],
    ['more bytes than its size', '1\r\nabcdef\r\n'],
    ['fewer bytes than its size', '5\r\nab\r\n'],
    ['a space before its size', ' 2\r\nab\r\n'],
    ['no size', '\r\nab\r\n'],
  ])('never reaches the API in full when a chunk has %s', async (_how, malformed) => {
    const headers = [json, 'Transfer-Encoding: chunked'];
    const parts = ['2\r\nok\r\n', malformed, lastChunk, smuggled];
    const { response } = await api.sendAndRecord('POST /api/data', headers, parts);
    expect(response.statuses.filter((status) => status < 400)).toEqual([]);
    await waitUntil(() => api.openRequestCount() === 0); // no request is left open
    expect(api.recorder.requests.filter(({ target }) => target.includes('smuggled'))).toEqual([]);
    for (const each of api.recorder.requests) expect((await each.body).isWhole).toBe(false);
  });

  test.each([
    ['before the announced length', ['Content-Length: 100'], ['{"a":']],
    ['between chunks', ['Transfer-Encoding: chunked'], ['5\r\n{"a":\r\n']],
    ['within a chunk', ['Transfer-Encoding: chunked'], ['50\r\n{"a":']],
  ])('never reaches the API in full when the browser disconnects %s', async (_how, headers, body) => {
    api.recorder.requests.length = 0;
    const lines = ['Host: localhost', `Cookie: ${api.cookie}`, 'Connection: close', json, ...headers];
    const response = await sendRaw(api.world.origin, [formatHead('POST /api/data', lines), ...body], {
      hangUp: true,
    });
    expect(response.statuses.filter((status) => status < 400)).toEqual([]);
    await waitUntil(() => api.openRequestCount() === 0);
    for (const each of api.recorder.requests) expect((await each.body).isWhole).toBe(false);
  });

  test.each([
    ['POST', 'application/vnd.api+json'],
    ['PUT', 'text/plain'],
    ['PATCH', 'application/merge-patch+json'],
  ])('of no bytes keeps its Content-* headers: %s', async (method, type) => {
    const headers = [
      `Content-Type: ${type}`,
      'Content-Range: bytes */524288',
      'Content-Language: de',
      'Content-Length: 0',
    ];
    const { forwarded } = await api.sendAndRecord(`${method} /api/any`, headers);
    expect(forwarded[0]!.headers.filter(([name]) => name.startsWith('content-')).sort()).toEqual([
      ['content-language', 'de'],
      ['content-length', '0'],
      ['content-range', 'bytes */524288'],
      ['content-type', type],
    ]);
  });

  test('arrives although its Content-Length is behind more headers than Node.js reads by default', async () => {
    const many = Array.from({ length: 2_000 }, () => 'a:b');
    const headers = [...many, 'Content-Length: 4'];
    const { response, forwarded } = await api.sendAndRecord('POST /api/data', headers, ['body']);
    expect(response.statuses).toEqual([201]);
    expect((await forwarded[0]!.body).text).toBe('body');
    expect((await api.send('GET /api/data', headers, ['body'])).statuses).toEqual([400]);
  });

  test('that is absent costs a DELETE request no Content-* headers, and adds none', async () => {
    const { forwarded } = await api.sendAndRecord('DELETE /api/any', [json]);
    const names = forwarded[0]!.headers.map(([name]) => name);
    expect(names.filter((name) => name.startsWith('content-'))).toEqual(['content-type']);
    expect((await forwarded[0]!.body).bytes).toBe(0);
  });

  test('of an OPTIONS request is forwarded if the route lists OPTIONS', async () => {
    const { response, forwarded } = await api.sendAndRecord(
      'OPTIONS /api/any',
      [json, 'Content-Length: 2'],
      ['{}'],
    );
    expect([response.statuses, (await forwarded[0]!.body).text]).toEqual([[200], '{}']);
    expect(forwarded[0]!.headers).toContainEqual(['content-type', 'application/json']);
  });

  test('of exactly 10 MiB is forwarded, with its length or in chunks', async () => {
    const whole = Buffer.alloc(limit, 'x');
    const byLength = await api.sendAndRecord('POST /api/data', [`Content-Length: ${limit}`], [whole]);
    expect([byLength.response.statuses, (await byLength.forwarded[0]!.body).bytes]).toEqual([[201], limit]);
    const chunks = [...Array(160)].map(() => chunk(limit / 160));
    const inChunks = await api.sendAndRecord(
      'POST /api/data',
      ['Transfer-Encoding: chunked'],
      [...chunks, lastChunk],
    );
    expect([inChunks.response.statuses, (await inChunks.forwarded[0]!.body).bytes]).toEqual([[201], limit]);
  });

  test.each([
    ['one byte more', limit + 1],
    ['4 GB', 4_000_000_000],
    ['the largest safe integer', 9_007_199_254_740_991],
  ])('with a Content-Length over 10 MiB gets 413 and is not forwarded: %s', async (_how, bytes) => {
    const { response, forwarded } = await api.sendAndRecord(
      'POST /api/data',
      [`Content-Length: ${bytes}`],
      [],
    );
    expect([response.statuses, forwarded]).toEqual([[413], []]);
    expect(response.text).toContain('"payload_too_large"');
  });

  test('that is chunked and exceeds 10 MiB in total gets 413, and never reaches the API in full', async () => {
    const chunks = [...Array(11)].map(() => chunk(1024 * 1024));
    const { response, forwarded } = await api.sendAndRecord(
      'POST /api/data',
      ['Transfer-Encoding: chunked'],
      chunks,
    );
    expect(response.statuses).toEqual([413]);
    expect(response.text).toContain('"payload_too_large"');
    for (const each of forwarded) {
      const { bytes, isWhole } = await each.body;
      expect(isWhole).toBe(false);
      expect(bytes).toBeLessThanOrEqual(limit);
    }
  });

  test.each([
    ['GET', ['Content-Length: 44']],
    ['HEAD', ['Content-Length: 44']],
    ['GET', ['Transfer-Encoding: chunked']],
  ])('of a %s request with %j gets 400, and is not parsed as another request', async (method, framing) => {
    api.recorder.requests.length = 0;
    const body = framing[0]!.startsWith('Content')
      ? smuggled.padEnd(44).slice(0, 44)
      : `${smuggled.length.toString(16)}\r\n${smuggled}\r\n${lastChunk}`;
    const lines = ['Host: localhost', `Cookie: ${api.cookie}`, json, ...framing];
    const nextRequest = formatHead('GET /healthz', ['Host: localhost', 'Connection: close']);
    const response = await sendRaw(api.world.origin, [
      formatHead(`${method} /api/profile`, lines),
      body,
      nextRequest,
    ]);
    expect(response.statuses).toEqual([400, 200]);
    expect(api.recorder.requests).toEqual([]); // without its body, the request could mean something else
  });

  test('never reaches the API in full, and leaves no API request open, when the browser disconnects during a token refresh', async () => {
    let release = () => {};
    const hold = new Promise<void>((resolve) => {
      release = resolve;
    });
    api.recorder.requests.length = 0;
    await api.world.clock.advance(301);
    api.world.providerFaults.set({ path: /^\/token$/, hold });
    const before = api.world.providerFaults.count(/^\/token$/);
    const lines = ['Host: localhost', `Cookie: ${api.cookie}`, json, 'Transfer-Encoding: chunked'];
    const disconnected = sendRaw(api.world.origin, [formatHead('POST /api/data', lines), '2\r\nok\r\n'], {
      hangUp: true,
    });
    await waitUntil(() => api.world.providerFaults.count(/^\/token$/) > before);
    await disconnected;
    release();
    await api.world.latchkey.drain();
    api.world.providerFaults.set(undefined);
    await waitUntil(() => api.openRequestCount() === 0);
    for (const each of api.recorder.requests) expect((await each.body).isWhole).toBe(false);
  });

  test('of a rejected request is not parsed as the next request', async () => {
    for (const path of ['/api/profile', '/api/unknown', '/auth/refresh', '/auth/login', '/']) {
      api.recorder.requests.length = 0;
      const lines = ['Host: localhost', 'Sec-Fetch-Site: cross-site', `Content-Length: ${smuggled.length}`];
      const nextRequest = formatHead('GET /healthz', ['Host: localhost', 'Connection: close']);
      const response = await sendRaw(api.world.origin, [
        formatHead(`POST ${path}`, lines),
        smuggled,
        nextRequest,
      ]);
      expect([path, response.statuses.length, response.statuses[1]]).toEqual([path, 2, 200]);
      expect(api.recorder.requests).toEqual([]);
    }
  });
});
