import { type ApiWorld, createApiWorld } from './support/api-world.ts';
import { formatHead, sendRaw, waitUntil } from './support/wire.ts';

const limit = 10 * 1024 * 1024;
const chunk = (bytes: number) =>
  Buffer.concat([Buffer.from(`${bytes.toString(16)}\r\n`), Buffer.alloc(bytes, 'x'), Buffer.from('\r\n')]);
const lastChunk = '0\r\n\r\n';
const smuggled = 'GET /api/data?smuggled HTTP/1.1\r\nHost: x\r\n\r\n';

describe('a request body on its way to the API', () => {
  let api: ApiWorld;
  beforeAll(async () => {
    api = await createApiWorld();
  });
  afterAll(() => api.close());
  beforeEach(() => api.recorder.respondWith(undefined));

  const json = 'Content-Type: application/json';

  test.each([
    ['by its length', ['Content-Length: 7'], ['{"a":1}']],
    ['in chunks', ['Transfer-Encoding: chunked'], ['3\r\n{"a\r\n', '4;ext=1\r\n":1}\r\n', lastChunk]],
    ['in chunks, spelt otherwise', ['Transfer-Encoding: Chunked'], ['07\r\n{"a":1}\r\n', lastChunk]],
    [
      'in chunks with a trailer',
      ['Transfer-Encoding: chunked'],
      ['7\r\n{"a":1}\r\n0\r\nAuthorization: x\r\n\r\n'],
    ],
    ['after 100-continue', ['Content-Length: 7', 'Expect: 100-continue'], ['{"a":1}']],
  ])('arrives whole and once: %s', async (_how, headers, body) => {
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
    ['a length and chunks', ['Content-Length: 3', 'Transfer-Encoding: chunked'], [lastChunk, smuggled]],
    ['chunks and a length', ['Transfer-Encoding: chunked', 'Content-Length: 5'], [lastChunk, smuggled]],
    ['two lengths', ['Content-Length: 0', 'Content-Length: 44'], [smuggled]],
    ['two lengths in one', ['Content-Length: 0, 44'], [smuggled]],
    ['a length below zero', ['Content-Length: -1'], [smuggled]],
    ['a length with a sign', ['Content-Length: +44'], [smuggled]],
    ['a length in hex', ['Content-Length: 0x2c'], [smuggled]],
    ['a length beyond every number', [`Content-Length: 1${'0'.repeat(30)}`], ['x']],
    ['a coding nobody knows', ['Transfer-Encoding: xchunked'], [lastChunk]],
    ['chunked not last', ['Transfer-Encoding: chunked, identity'], [lastChunk, smuggled]],
    ['chunked in another header', ['Transfer-Encoding : chunked'], [lastChunk, smuggled]],
    ['a vertical tab before chunked', ['Transfer-Encoding: \vchunked'], [lastChunk, smuggled]],
    ['a folded coding', ['Transfer-Encoding:\r\n chunked', 'Content-Length: 5'], [lastChunk, smuggled]],
    ['an expectation nobody meets', ['Content-Length: 1', 'Expect: 200-maybe'], ['x']],
  ])('is refused before it arrives anywhere: %s', async (_how, headers, body) => {
    const { response, forwarded } = await api.sendAndRecord('POST /api/data', [json, ...headers], body);
    expect(forwarded).toEqual([]);
    expect(response.statuses).toHaveLength(1);
    expect(response.statuses[0]).toBeGreaterThanOrEqual(400);
    expect(response.statuses[0]).toBeLessThan(500);
  });

  test.each([
    ['no number', 'zz\r\nab\r\n'],
    ['a number below zero', '-1\r\nab\r\n'],
    ['a number beyond every number', `${'F'.repeat(20)}\r\nab\r\n`],
    ['a number in a form of its own', '0x2\r\nab\r\n'],
    ['a bare line feed behind it', '2\nab\n'],
    ['more bytes than it says', '1\r\nabcdef\r\n'],
    ['fewer bytes than it says', '5\r\nab\r\n'],
    ['a space before it', ' 2\r\nab\r\n'],
    ['nothing', '\r\nab\r\n'],
  ])('never arrives as a whole one when a chunk says %s', async (_how, bad) => {
    const headers = [json, 'Transfer-Encoding: chunked'];
    const parts = ['2\r\nok\r\n', bad, lastChunk, smuggled];
    const { response } = await api.sendAndRecord('POST /api/data', headers, parts);
    expect(response.statuses.filter((status) => status < 400)).toEqual([]);
    await waitUntil(() => api.openRequestCount() === 0); // nothing is left waiting for the rest
    expect(api.recorder.requests.filter(({ target }) => target.includes('smuggled'))).toEqual([]);
    for (const each of api.recorder.requests) expect((await each.body).isWhole).toBe(false);
  });

  test.each([
    ['by its length', ['Content-Length: 100'], ['{"a":']],
    ['in chunks', ['Transfer-Encoding: chunked'], ['5\r\n{"a":\r\n']],
    ['within a chunk', ['Transfer-Encoding: chunked'], ['50\r\n{"a":']],
  ])('never arrives as a whole one when the browser leaves: %s', async (_how, headers, body) => {
    api.recorder.requests.length = 0;
    const lines = ['Host: localhost', `Cookie: ${api.cookie}`, 'Connection: close', json, ...headers];
    const response = await sendRaw(api.world.origin, [formatHead('POST /api/data', lines), ...body], {
      hangUp: true,
    });
    expect(response.statuses.filter((status) => status < 400)).toEqual([]);
    await waitUntil(() => api.openRequestCount() === 0);
    for (const each of api.recorder.requests) expect((await each.body).isWhole).toBe(false);
  });

  test('of exactly 10 MiB arrives, by its length and in chunks', async () => {
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
    ['one byte', limit + 1],
    ['much', 4_000_000_000],
    ['very much', 9_007_199_254_740_991],
  ])('that says it is larger than 10 MiB by %s is 413 and arrives nowhere', async (_how, bytes) => {
    const { response, forwarded } = await api.sendAndRecord(
      'POST /api/data',
      [`Content-Length: ${bytes}`],
      [],
    );
    expect([response.statuses, forwarded]).toEqual([[413], []]);
    expect(response.text).toContain('"payload_too_large"');
  });

  test('that grows larger than 10 MiB in chunks is 413, and the API gets no whole one', async () => {
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
  ])('of a %s with %s arrives neither as a body nor as a request', async (method, framing) => {
    api.recorder.requests.length = 0;
    const body = framing[0]!.startsWith('Content')
      ? smuggled.padEnd(44).slice(0, 44)
      : `${smuggled.length.toString(16)}\r\n${smuggled}\r\n${lastChunk}`;
    const lines = ['Host: localhost', `Cookie: ${api.cookie}`, json, ...framing];
    const last = formatHead('GET /healthz', ['Host: localhost', 'Connection: close']);
    const response = await sendRaw(api.world.origin, [
      formatHead(`${method} /api/profile`, lines),
      body,
      last,
    ]);
    expect(response.statuses).toEqual([200, 200]);
    expect(api.recorder.requests.map(({ target }) => target)).toEqual(['/api/user/profile']);
    expect(await api.recorder.requests[0]!.body).toMatchObject({ bytes: 0, isWhole: true });
    const names = api.recorder.requests[0]!.headers.map(([name]) => name);
    expect(names.filter((name) => name.startsWith('content-') || name === 'transfer-encoding')).toEqual([]);
  });

  test('leaves nothing waiting at the API when the browser is gone while its token is renewed', async () => {
    let release = () => {};
    const hold = new Promise<void>((resolve) => {
      release = resolve;
    });
    api.recorder.requests.length = 0;
    api.world.clock.advance(301);
    api.world.providerFaults.set({ path: /^\/token$/, hold });
    const before = api.world.providerFaults.count(/^\/token$/);
    const lines = ['Host: localhost', `Cookie: ${api.cookie}`, json, 'Transfer-Encoding: chunked'];
    const gone = sendRaw(api.world.origin, [formatHead('POST /api/data', lines), '2\r\nok\r\n'], {
      hangUp: true,
    });
    await waitUntil(() => api.world.providerFaults.count(/^\/token$/) > before);
    await gone;
    release();
    await api.world.latchkey.drain();
    api.world.providerFaults.set(undefined);
    await waitUntil(() => api.openRequestCount() === 0);
    for (const each of api.recorder.requests) expect((await each.body).isWhole).toBe(false);
  });

  test('of a request that is refused is not read as the next request', async () => {
    for (const path of ['/api/profile', '/api/unknown', '/auth/refresh', '/auth/login', '/']) {
      api.recorder.requests.length = 0;
      const lines = ['Host: localhost', 'Sec-Fetch-Site: cross-site', `Content-Length: ${smuggled.length}`];
      const last = formatHead('GET /healthz', ['Host: localhost', 'Connection: close']);
      const response = await sendRaw(api.world.origin, [formatHead(`POST ${path}`, lines), smuggled, last]);
      expect([path, response.statuses.length, response.statuses[1]]).toEqual([path, 2, 200]);
      expect(api.recorder.requests).toEqual([]);
    }
  });
});
