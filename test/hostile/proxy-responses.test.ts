import { type ApiWorld, createApiWorld } from './support/api-world.ts';

/** An answer on the wire, which ends with its connection unless `headers` say where. */
const wire = (status: string, headers: readonly string[] = [], body = '') =>
  Buffer.from([`HTTP/1.1 ${status}`, 'Connection: close', ...headers, '', body].join('\r\n'), 'latin1');
const sized = (status: string, body: string, headers: readonly string[] = []) =>
  wire(status, [`Content-Length: ${body.length}`, ...headers], body);
const json = 'Content-Type: application/json';
const headOf = (text: string) => text.split('\r\n\r\n', 1)[0]!.toLowerCase();

/** Our origin's own affairs, a cache's, or of one connection only: never the API's to say. */
const dropped: readonly (readonly [name: string, value: string])[] = [
  ['Set-Cookie', 'latchkey=evil; Path=/'],
  ['Set-Cookie2', 'latchkey=evil'],
  ['Clear-Site-Data', '"evil", "cookies"'],
  ['WWW-Authenticate', 'Basic realm="evil"'],
  ['Proxy-Authenticate', 'Basic realm="evil"'],
  ['Strict-Transport-Security', 'max-age=0; evil'],
  ['Public-Key-Pins', 'evil'],
  ['Content-Security-Policy', "default-src 'evil'"],
  ['Content-Security-Policy-Report-Only', 'report-uri //evil'],
  ['X-Frame-Options', 'ALLOW-FROM evil'],
  ['X-Content-Type-Options', 'evil'],
  ['X-XSS-Protection', '1; report=//evil'],
  ['Access-Control-Allow-Origin', 'https://evil.example'],
  ['Access-Control-Allow-Credentials', 'evil'],
  ['Access-Control-Expose-Headers', 'evil'],
  ['Cross-Origin-Resource-Policy', 'evil'],
  ['Cross-Origin-Opener-Policy', 'evil'],
  ['Service-Worker-Allowed', '/evil'],
  ['Refresh', '0; url=//evil.example'],
  ['Alt-Svc', 'h3="evil.example:443"'],
  ['NEL', '{"report_to":"evil"}'],
  ['Report-To', '{"group":"evil"}'],
  ['Reporting-Endpoints', 'evil="//evil.example"'],
  ['Cache-Control', 'public, max-age=31536000, evil'],
  ['CDN-Cache-Control', 'public, evil'],
  ['Surrogate-Control', 'public, evil'],
  ['Expires', 'Fri, 31 Dec 2999 23:59:59 GMT evil'],
  ['Pragma', 'evil'],
  ['Age', 'evil'],
  ['Keep-Alive', 'timeout=9999, evil'],
  ['Proxy-Connection', 'evil'],
  ['Trailer', 'evil'],
  ['Upgrade', 'evil/2'],
  ['Server', 'evil/1.0'],
  ['X-Powered-By', 'evil'],
  ['X-Request-Id', 'evil'],
  // a debugging API says back what it was sent: the bearer token
  ['Authorization', 'Bearer evil'],
];

describe('what the API answers', () => {
  let api: ApiWorld;
  beforeAll(async () => {
    api = await createApiWorld();
  });
  afterAll(() => api.close());
  beforeEach(() => {
    api.recorder.requests.length = 0;
  });

  test.each(dropped)('never reaches the browser as %s', async (name, value) => {
    api.recorder.respondWith(
      sized('200 OK', '{}', [json, `${name}: ${value}`, `${name.toUpperCase()}: ${value}`]),
    );
    const { statuses, text } = await api.send('GET /api/data');
    expect([statuses, text.endsWith('\r\n\r\n{}')]).toEqual([[200], true]);
    expect(headOf(text)).not.toContain('evil');
  });

  test('reaches the browser with our own word on caching, scripts and sniffing, each once', async () => {
    api.recorder.respondWith(
      sized('200 OK', '{}', [json, ...dropped.map(([name, value]) => `${name}: ${value}`)]),
    );
    const lines = headOf((await api.send('GET /api/data')).text).split('\r\n');
    const of = (name: string) => lines.filter((line) => line.startsWith(`${name}:`));
    expect(of('cache-control')).toEqual(['cache-control: no-store']);
    expect(of('x-content-type-options')).toEqual(['x-content-type-options: nosniff']);
    expect(of('cross-origin-resource-policy')).toEqual(['cross-origin-resource-policy: same-origin']);
    expect(of('content-security-policy').join()).toContain('sandbox');
    expect(of('vary').join()).toContain('cookie');
    expect(of('x-request-id')).toHaveLength(1);
    expect(of('set-cookie')).toEqual([]);
  });

  test.each([
    ['one Connection header', ['Connection: X-Internal, close']],
    ['several Connection headers', ['Connection: close', 'Connection: X-Internal']],
    ['a Connection header in odd spelling', ['CONNECTION:\tClose ,, x-INTERNAL ']],
  ])('keeps what %s names to itself', async (_how, connection) => {
    const lines = ['HTTP/1.1 200 OK', ...connection, 'X-Internal: evil', 'Content-Length: 2', '', '{}'];
    api.recorder.respondWith(lines.join('\r\n'));
    const { statuses, text } = await api.send('GET /api/data');
    expect([statuses, text.endsWith('{}')]).toEqual([[200], true]);
    expect(headOf(text)).not.toContain('evil');
  });

  const statuses = [
    200, 201, 202, 206, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 409, 418, 422, 429, 451,
  ];
  test.each([...statuses, 500, 501, 502, 503, 504, 599].map((each) => [each]))(
    'reaches the browser with its status %i and its body, and is not followed',
    async (status) => {
      const extra = [
        'Location: http://127.0.0.1:1/elsewhere',
        'Retry-After: 7',
        'ETag: "e"',
        'Content-Range: bytes 0-3/9',
      ];
      api.recorder.respondWith(sized(`${status} Whatever`, '{"its":"own"}', [json, ...extra]));
      const { statuses: got, text } = await api.send('GET /api/data');
      expect([got, text.endsWith('\r\n\r\n{"its":"own"}')]).toEqual([[status], true]);
      for (const line of extra) expect(headOf(text)).toContain(line.toLowerCase());
      // Of a 401 the API is asked once more, with another token.
      expect(api.recorder.requests).toHaveLength(status === 401 ? 2 : 1);
      expect(headOf(text)).toContain('content-type: application/json');
    },
  );

  test.each([
    ['204 No Content', 'GET', []],
    ['304 Not Modified', 'GET', ['ETag: "e"']],
    ['304 Not Modified', 'GET', ['Content-Length: 500']],
    ['200 OK', 'HEAD', ['Content-Length: 500']],
    ['404 Not Found', 'HEAD', ['Content-Length: 500']],
  ])('has no body when there can be none: %s to %s with %j', async (status, method, headers) => {
    api.recorder.respondWith(wire(status, headers));
    const { statuses: got, text } = await api.send(`${method} /api/data`);
    expect(got).toEqual([Number.parseInt(status, 10)]);
    expect(text.endsWith('\r\n\r\n')).toBe(true);
    for (const line of headers) expect(headOf(text)).toContain(line.toLowerCase());
  });

  test.each([
    ['in chunks', ['Transfer-Encoding: chunked'], '4\r\nabcd\r\n2;x=y\r\nef\r\n0\r\n\r\n'],
    [
      'in chunks with a trailer',
      ['Transfer-Encoding: chunked'],
      '6\r\nabcdef\r\n0\r\nSet-Cookie: latchkey=evil\r\n\r\n',
    ],
    ['until the connection ends', [], 'abcdef'],
    ['compressed, as it says', ['Content-Encoding: gzip', 'Content-Length: 6'], 'abcdef'],
  ])('reaches the browser byte for byte: a body %s', async (_how, headers, body) => {
    api.recorder.respondWith(wire('200 OK', headers, body));
    const { statuses: got, text } = await api.send('GET /api/data');
    const answered = text.slice(text.indexOf('\r\n\r\n') + 4);
    const isChunked = headOf(text).includes('transfer-encoding: chunked');
    expect([got, isChunked ? unchunked(answered) : answered]).toEqual([[200], 'abcdef']);
    expect(text).not.toContain('evil');
  });

  test('is only the last of several: 103 Early Hints are not ours to give', async () => {
    const early = 'HTTP/1.1 103 Early Hints\r\nLink: </evil.css>; rel=preload\r\nSet-Cookie: evil=1\r\n\r\n';
    api.recorder.respondWith(Buffer.concat([Buffer.from(early), sized('200 OK', '{}')]));
    const { statuses: got, text } = await api.send('GET /api/data');
    expect([got, text.includes('evil')]).toEqual([[200], false]);
  });

  test.each([
    ['by its length', ['Content-Length: 100'], 'half'],
    ['in chunks', ['Transfer-Encoding: chunked'], '4\r\nhalf\r\n'],
    ['within a chunk', ['Transfer-Encoding: chunked'], '64\r\nhalf'],
    ['by a chunk that is none', ['Transfer-Encoding: chunked'], '4\r\nhalf\r\nzz\r\n'],
  ])('looks cut when it was cut: %s', async (_how, headers, body) => {
    api.recorder.respondWith(wire('200 OK', [json, ...headers], body));
    const { statuses: got, text } = await api.send('GET /api/data');
    expect(text).not.toMatch(/\r\n0\r\n\r\n$/);
    const length = /content-length: (\d+)/.exec(headOf(text))?.[1];
    const answered = text.slice(text.indexOf('\r\n\r\n') + 4);
    expect(
      length === undefined || Number(length) > answered.length || got.every((each) => each === 502),
    ).toBe(true);
  });

  test.each([
    ['nothing at all', ''],
    ['no HTTP', 'SSH-2.0-OpenSSH_9.9\r\n\r\n'],
    ['HTML without a head', '<html>hello</html>'],
    ['another HTTP', 'HTTP/9.9 200 OK\r\n\r\n'],
    ['a status that is no number', 'HTTP/1.1 abc OK\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
    ['a length that is no number', 'HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nab'],
    ['a header without an end', 'HTTP/1.1 200 OK\r\nX-A: b'],
    ['a NUL in a header', 'HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\n{}'],
    ['too many headers', `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(40_000)}\r\n\r\n`],
    [
      'an upgrade nobody asked for',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
    ],
  ])('is 502 when it is no answer: %s', async (_how, bytes) => {
    api.recorder.respondWith((req) => req.socket.end(Buffer.from(bytes, 'latin1')));
    const { statuses: got, text } = await api.send('GET /api/data');
    expect([got, text.includes('"upstream_unreachable"')]).toEqual([[502], true]);
    expect(text).not.toContain('SSH-2.0');
  });

  test('is passed on when a header of it is not ASCII', async () => {
    api.recorder.respondWith(
      Buffer.concat([
        Buffer.from('HTTP/1.1 200 OK\r\nConnection: close\r\nX-Title: żółw\r\n'),
        Buffer.from('Content-Length: 2\r\n\r\n{}'),
      ]),
    );
    const { statuses: got, text } = await api.send('GET /api/data');
    expect([got, text.endsWith('{}')]).toEqual([[200], true]);
  });

  test('is 502 when the connection is reset, and the login stands', async () => {
    api.recorder.respondWith((req) => req.socket.resetAndDestroy());
    const { statuses: got, text } = await api.send('GET /api/data');
    expect([got, text.includes('"upstream_unreachable"')]).toEqual([[502], true]);
    api.recorder.respondWith(undefined);
    expect((await api.send('GET /api/data')).statuses).toEqual([200]);
  });

  test('is 504 when it does not come within ten seconds', async () => {
    api.recorder.respondWith(() => undefined);
    const { statuses: got, text } = await api.send('GET /api/data');
    expect([got, text.includes('"upstream_timeout"')]).toEqual([[504], true]);
    expect(api.openRequestCount()).toBe(0);
  }, 15_000);
});

function unchunked(body: string): string {
  const size = Number.parseInt(body, 16);
  const start = body.indexOf('\r\n') + 2;
  return size === 0 ? '' : body.slice(start, start + size) + unchunked(body.slice(start + size + 2));
}
