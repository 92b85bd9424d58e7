import { type ApiWorld, createApiWorld } from './support/api-world.ts';

/** A raw response, which ends when the connection closes unless `headers` set a length. */
const rawResponse = (status: string, headers: readonly string[] = [], body = '') =>
  Buffer.from([`HTTP/1.1 ${status}`, 'Connection: close', ...headers, '', body].join('\r\n'), 'latin1');
const responseWithLength = (status: string, body: string, headers: readonly string[] = []) =>
  rawResponse(status, [`Content-Length: ${body.length}`, ...headers], body);
const json = 'Content-Type: application/json';
const readHead = (text: string) => text.split('\r\n\r\n', 1)[0]!.toLowerCase();

const evil = (names: string) => names.split(' ').map((name) => [name, 'evil'] as const);

/** What an API tells its caller, although parts of the names resemble those of dropped headers. */
const passed: readonly (readonly [name: string, value: string])[] = [
  ['X-Total-Count', '319'],
  ['ETag', '"abc"'],
  ['Last-Modified', 'Mon, 01 Jan 2024 00:00:00 GMT'],
  ['Accept-Ranges', 'bytes'],
  ['Content-Disposition', 'attachment'],
  ['Content-Language', 'pl'],
  ['Content-Digest', 'sha-256=:x:'],
  ['Retry-After', '5'],
  ['RateLimit-Policy', '"a";q=10'],
  ['X-RateLimit-Policy', 'a'],
  ['X-RateLimit-Remaining', '9'],
  ['Idempotency-Key', 'k'],
  ['X-Api-Key-Id', 'k'],
  ['Upload-Offset', '10'],
  ['Tus-Resumable', '1.0.0'],
  ['X-Goog-Upload-Status', 'active'],
  ['X-Goog-Storage-Class', 'STANDARD'],
  ['OData-Version', '4.0'],
  ['Mcp-Session-Id', 's'],
  ['Preference-Applied', 'return=minimal'],
  ['Deprecation', '@1'],
  ['Sunset', 'Mon, 01 Jan 2029 00:00:00 GMT'],
  ['Warning', '299 - "deprecated"'],
  ['Server-Timing', 'db;dur=5'],
  ['X-Knowledge-Id', '1'],
  ['X-Accel-Buffering', 'no'],
];

/** Response headers an API must not set: they affect our origin, caches, or only one connection. */
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
  // a proxy in front would send a file of its own, replay the request, or take this instance out of service
  ...evil(
    'X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Charset X-Accel-Buffering X_Accel_Redirect',
  ),
  ...evil(
    'X-Sendfile X-Sendfile2 X-Send-File X-Sendfile-Temporary X-LIGHTTPD-send-file X-LIGHTTPD-send-tempfile',
  ),
  ...evil(
    'X-LiteSpeed-Location X-Reproxy-URL X-Reproxy-File X-AppEngine-BlobKey X-Middleware-Rewrite Fly-Replay',
  ),
  ...evil(
    'X-Envoy-Immediate-Health-Check-Fail X-Envoy-Degraded X-ServiceFabric Arr-Disable-Session-Affinity',
  ),
  ...evil('X-Forwarded-Host Proxy-Status Via Priority'),
  // caches and CDNs would store it
  ...evil(
    'Cloudflare-CDN-Cache-Control Netlify-CDN-Cache-Control Vercel-CDN-Cache-Control Any-Vendor-Cache-Control',
  ),
  ...evil('X-Reverse-Proxy-TTL X-VC-TTL X-Proxy-Cache'),
  ...evil('Edge-Control Edge-Cache-Tag Cache-Tag X-Cache-Tags Surrogate-Key xkey X-Varnish-TTL X-TTL X-Esi'),
  ...evil(
    'X-LiteSpeed-Cache-Control X-Cacheable Cache-Group-Invalidation Cache-Groups No-Vary-Search Akamai-Cache-Control',
  ),
  ...evil('X-Akamai-Edgescape Fastly-Debug Netlify-Vary X-Pagespeed CF-Edge-Cache Variants Variant-Key'),
  // browsers would apply it to the whole origin, to later requests or to other documents
  ...evil('Set-Login Accept-CH Accept-CH-Lifetime Critical-CH Delegate-CH Secure-Session-Registration'),
  ...evil(
    'Secure-Session-Challenge Sec-Session-Registration Permissions-Policy Feature-Policy Referrer-Policy',
  ),
  ...evil('Document-Policy Require-Document-Policy Integrity-Policy Origin-Agent-Cluster Origin-Trial'),
  ...evil(
    'Timing-Allow-Origin Speculation-Rules SourceMap X-SourceMap Supports-Loading-Mode Use-As-Dictionary',
  ),
  ...evil(
    'Service-Worker-Navigation-Preload Expect-CT X-DNS-Prefetch-Control X-Permitted-Cross-Domain-Policies',
  ),
  ...evil(
    'X-WebKit-CSP X-Content-Security-Policy Attribution-Reporting-Register-Source Observe-Browsing-Topics',
  ),
  ...evil(
    'Shared-Storage-Write Ad-Auction-Signals Activate-Storage-Access Cross-Origin-Embedder-Policy-Report-Only',
  ),
  ...evil('Public-Key-Pins-Report-Only IdP-SignIn-Status Alternate-Protocol Allow-CSP-From X-UA-Compatible'),
  ...evil('Onion-Location'),
  // credentials
  ...evil('Authentication-Info Optional-WWW-Authenticate Proxy-Authentication-Info'),
  ...evil('Latchkey-Dropped-Headers Latchkey-Error LATCHKEY_ERROR'),
  // a debugging API may repeat the request headers, which contain the token
  ['Authorization', 'Bearer evil'],
];

describe('an API response', () => {
  let api: ApiWorld;
  beforeAll(async () => {
    api = await createApiWorld();
  });
  afterAll(() => api.close());
  beforeEach(() => {
    api.recorder.requests.length = 0;
  });

  test.each(dropped)('reaches the browser without its header %s', async (name, value) => {
    api.recorder.respondWith(
      responseWithLength('200 OK', '{}', [json, `${name}: ${value}`, `${name.toUpperCase()}: ${value}`]),
    );
    const { statuses, text } = await api.send('GET /api/data');
    expect([statuses, text.endsWith('\r\n\r\n{}')]).toEqual([[200], true]);
    expect(readHead(text)).not.toContain('evil');
  });

  test.each(passed)('reaches the browser with its header %s', async (name, value) => {
    api.recorder.respondWith(responseWithLength('200 OK', '{}', [json, `${name}: ${value}`]));
    const { text } = await api.send('GET /api/data');
    expect(text.split('\r\n').map((line) => line.toLowerCase())).toContain(`${name}: ${value}`.toLowerCase());
  });

  test('reaches the browser with our own caching, CSP and sniffing headers, each once', async () => {
    api.recorder.respondWith(
      responseWithLength('200 OK', '{}', [json, ...dropped.map(([name, value]) => `${name}: ${value}`)]),
    );
    const lines = readHead((await api.send('GET /api/data')).text).split('\r\n');
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
    ['a Connection header with unusual spelling', ['CONNECTION:\tClose ,, x-INTERNAL ']],
  ])('reaches the browser without the header named in %s', async (_how, connection) => {
    const lines = ['HTTP/1.1 200 OK', ...connection, 'X-Internal: evil', 'Content-Length: 2', '', '{}'];
    api.recorder.respondWith(lines.join('\r\n'));
    const { statuses, text } = await api.send('GET /api/data');
    expect([statuses, text.endsWith('{}')]).toEqual([[200], true]);
    expect(readHead(text)).not.toContain('evil');
  });

  test.each([
    ['a redirect to its slash', '/api/user/data/', '/api/data/'],
    ['a created resource', '/api/user/data/7?x=y', '/api/data/7?x=y'],
    ['another site', 'https://elsewhere.example/x', 'https://elsewhere.example/x'],
  ])('never reveals its inner address: the Location of %s', async (_what, location, mapped) => {
    for (const prefix of location.startsWith('/') ? ['', api.recorder.url] : [''])
      for (const name of ['Location', 'Content-Location']) {
        api.recorder.respondWith(
          responseWithLength('307 Temporary Redirect', '{}', [`${name}: ${prefix}${location}`]),
        );
        const { text } = await api.send('GET /api/data');
        expect(text).toContain(`\r\n${name.toLowerCase()}: ${mapped}\r\n`);
      }
  });

  test('reaches the browser with the paging relations of its Link only', async () => {
    const links = [
      '</evil.js>; rel=preload; as=script',
      `<${api.recorder.url}/api/user/data?page=2>; rel="next"`,
    ];
    for (const lines of [[`Link: ${links.join(', ')}`], links.map((link) => `Link: ${link}`)]) {
      api.recorder.respondWith(responseWithLength('200 OK', '{}', lines));
      const head = readHead((await api.send('GET /api/data')).text);
      expect(head).toContain('\r\nlink: </api/data?page=2>; rel="next"\r\n');
      expect(head).not.toContain('evil');
    }
  });

  const bytes = (text: string) => Buffer.from(text).toString('latin1');
  test.each([
    ['with a length', (lines: readonly string[]) => responseWithLength('200 OK', '{}', lines)],
    ['without a length', (lines: readonly string[]) => rawResponse('200 OK', lines, '{}')],
  ])('cannot add a header of its own by the characters of a file name: a body %s', async (_how, respond) => {
    const split = bytes('\u010d\u010aSet-Cookie: latchkey=evil\u010d\u010aX: ');
    const named = `attachment; filename="${split}"`;
    const values = [
      named,
      split,
      `attachment; filename=${split}`,
      `attachment; filename="a"; filename*=${split}`,
    ];
    for (const value of values)
      for (const name of ['Content-Disposition', 'X-Title', 'Content-Location']) {
        api.recorder.respondWith(respond([`${name}: ${value}`]));
        const { statuses: received, text } = await api.send('GET /api/data');
        expect([received, /^(set-cookie|x):/im.test(text)]).toEqual([[200], false]);
      }
  });

  test.each([
    [bytes('a ż"ó(1)\'.pdf').replace('"', '\\"'), "filename*=UTF-8''a%20%C5%BC%22%C3%B3%281%29%27.pdf"],
    ['\xe9.pdf', "filename*=UTF-8''%C3%A9.pdf"],
  ])('keeps a file name that is not ASCII: %j', async (name, expected) => {
    const line = `Content-Disposition: attachment; filename="${name}"`;
    api.recorder.respondWith(responseWithLength('200 OK', '{}', [line]));
    const { text } = await api.send('GET /api/data');
    expect(/\r\ncontent-disposition: (attachment; filename="[ -~]*"; )(.*)\r\n/.exec(text)?.[2]).toBe(
      expected,
    );
  });

  const statuses = [
    200, 201, 202, 206, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 409, 418, 422, 429, 451,
  ];
  test.each([...statuses, 500, 501, 502, 503, 504, 599].map((each) => [each]))(
    'reaches the browser with its status %i and body, and no redirect is followed',
    async (status) => {
      const extra = [
        'Location: http://127.0.0.1:1/elsewhere',
        'Retry-After: 7',
        'ETag: "e"',
        'Content-Range: bytes 0-3/9',
      ];
      api.recorder.respondWith(responseWithLength(`${status} Whatever`, '{"its":"own"}', [json, ...extra]));
      const { statuses: received, text } = await api.send('GET /api/data');
      expect([received, text.endsWith('\r\n\r\n{"its":"own"}')]).toEqual([[status], true]);
      for (const line of extra) expect(readHead(text)).toContain(line.toLowerCase());
      // After a 401 the request is repeated once, with another token.
      expect(api.recorder.requests).toHaveLength(status === 401 ? 2 : 1);
      expect(readHead(text)).toContain('content-type: application/json');
    },
  );

  test.each([
    ['204 No Content', 'GET', []],
    ['304 Not Modified', 'GET', ['ETag: "e"']],
    ['304 Not Modified', 'GET', ['Content-Length: 500']],
    ['200 OK', 'HEAD', ['Content-Length: 500']],
    ['404 Not Found', 'HEAD', ['Content-Length: 500']],
  ])(
    'has no body when HTTP allows none: %s in response to %s, with headers %j',
    async (status, method, headers) => {
      api.recorder.respondWith(rawResponse(status, headers));
      const { statuses: received, text } = await api.send(`${method} /api/data`);
      expect(received).toEqual([Number.parseInt(status, 10)]);
      expect(text.endsWith('\r\n\r\n')).toBe(true);
      for (const line of headers) expect(readHead(text)).toContain(line.toLowerCase());
    },
  );

  test.each([
    ['in chunks', ['Transfer-Encoding: chunked'], '4\r\nabcd\r\n2;x=y\r\nef\r\n0\r\n\r\n'],
    [
      'in chunks with a trailer',
      ['Transfer-Encoding: chunked'],
      '6\r\nabcdef\r\n0\r\nSet-Cookie: latchkey=evil\r\n\r\n',
    ],
    ['that ends with the connection', [], 'abcdef'],
    ['with Content-Encoding: gzip', ['Content-Encoding: gzip', 'Content-Length: 6'], 'abcdef'],
  ])('reaches the browser byte for byte: a body %s', async (_how, headers, body) => {
    api.recorder.respondWith(rawResponse('200 OK', headers, body));
    const { statuses: received, text } = await api.send('GET /api/data');
    const receivedBody = text.slice(text.indexOf('\r\n\r\n') + 4);
    const isChunked = readHead(text).includes('transfer-encoding: chunked');
    expect([received, isChunked ? dechunk(receivedBody) : receivedBody]).toEqual([[200], 'abcdef']);
    expect(text).not.toContain('evil');
  });

  test('204 reaches the browser without a length, for which it would wait', async () => {
    api.recorder.respondWith('HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello');
    const { statuses: received, text } = await api.send('GET /api/data');
    expect(received).toEqual([204]);
    expect(text).not.toMatch(/content-length|hello/i);
  });

  test('is forwarded without the 103 Early Hints before it', async () => {
    const early = 'HTTP/1.1 103 Early Hints\r\nLink: </evil.css>; rel=preload\r\nSet-Cookie: evil=1\r\n\r\n';
    api.recorder.respondWith(Buffer.concat([Buffer.from(early), responseWithLength('200 OK', '{}')]));
    const { statuses: received, text } = await api.send('GET /api/data');
    expect([received, text.includes('evil')]).toEqual([[200], false]);
  });

  test.each([
    ['before the announced length', ['Content-Length: 100'], 'half'],
    ['between chunks', ['Transfer-Encoding: chunked'], '4\r\nhalf\r\n'],
    ['within a chunk', ['Transfer-Encoding: chunked'], '64\r\nhalf'],
    ['by an invalid chunk', ['Transfer-Encoding: chunked'], '4\r\nhalf\r\nzz\r\n'],
  ])('is recognisably incomplete when it is cut off %s', async (_how, headers, body) => {
    api.recorder.respondWith(rawResponse('200 OK', [json, ...headers], body));
    const { statuses: received, text } = await api.send('GET /api/data');
    expect(text).not.toMatch(/\r\n0\r\n\r\n$/);
    const length = /content-length: (\d+)/.exec(readHead(text))?.[1];
    const receivedBody = text.slice(text.indexOf('\r\n\r\n') + 4);
    expect(
      length === undefined || Number(length) > receivedBody.length || received.every((each) => each === 502),
    ).toBe(true);
  });

  test.each([
    ['an empty response', ''],
    ['another protocol', 'SSH-2.0-OpenSSH_9.9\r\n\r\n'],
    ['HTML without headers', '<html>hello</html>'],
    ['an unknown HTTP version', 'HTTP/9.9 200 OK\r\n\r\n'],
    ['a status that is not a number', 'HTTP/1.1 abc OK\r\n\r\n'],
    ['two Content-Length headers', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
    ['a length that is not a number', 'HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nab'],
    ['an unterminated header', 'HTTP/1.1 200 OK\r\nX-A: b'],
    ['a NUL in a header', 'HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\n{}'],
    ['a header of 40,000 bytes', `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(40_000)}\r\n\r\n`],
    [
      'an upgrade that was not requested',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
    ],
  ])('becomes a 502 when it is malformed: %s', async (_how, bytes) => {
    api.recorder.respondWith((req) => req.socket.end(Buffer.from(bytes, 'latin1')));
    const { statuses: received, text } = await api.send('GET /api/data');
    expect([received, text.includes('"upstream_unreachable"')]).toEqual([[502], true]);
    expect(text).not.toContain('SSH-2.0');
  });

  test('is forwarded when one of its headers is not ASCII', async () => {
    api.recorder.respondWith(
      Buffer.concat([
        Buffer.from('HTTP/1.1 200 OK\r\nConnection: close\r\nX-Title: żółw\r\n'),
        Buffer.from('Content-Length: 2\r\n\r\n{}'),
      ]),
    );
    const { statuses: received, text } = await api.send('GET /api/data');
    expect([received, text.endsWith('{}')]).toEqual([[200], true]);
  });

  test('becomes a 502 when the connection is reset, and the session continues', async () => {
    api.recorder.respondWith((req) => req.socket.resetAndDestroy());
    const { statuses: received, text } = await api.send('GET /api/data');
    expect([received, text.includes('"upstream_unreachable"')]).toEqual([[502], true]);
    api.recorder.respondWith(undefined);
    expect((await api.send('GET /api/data')).statuses).toEqual([200]);
  });

  test('becomes a 504 when it takes more than ten seconds', async () => {
    api.recorder.respondWith(() => undefined);
    const { statuses: received, text } = await api.send('GET /api/data');
    expect([received, text.includes('"upstream_timeout"')]).toEqual([[504], true]);
    expect(api.openRequestCount()).toBe(0);
  }, 15_000);
});

function dechunk(body: string): string {
  const size = Number.parseInt(body, 16);
  const start = body.indexOf('\r\n') + 2;
  return size === 0 ? '' : body.slice(start, start + size) + dechunk(body.slice(start + size + 2));
}

describe('header values that are not ASCII', () => {
  let api: ApiWorld;
  beforeAll(async () => {
    api = await createApiWorld([
      { path: '/data', target: '/data', methods: { GET: {} } },
      { path: '/events', target: '/events', methods: { GET: {} }, stream: true },
    ]);
  });
  afterAll(() => api.close());

  test.each(['data', 'events'])('arrive byte by byte on /api/%s', async (path) => {
    for (const value of ['ISO 8859-1: \xe9', Buffer.from('UTF-8: \u00e9\u4e2d').toString('latin1')]) {
      api.recorder.respondWith(responseWithLength('200 OK', '{}', [`X-Title: ${value}`]));
      const { text } = await api.send(`GET /api/${path}`);
      expect(text.toLowerCase()).toContain(`\r\nx-title: ${value.toLowerCase()}\r\n`);
    }
    api.recorder.respondWith(
      responseWithLength('200 OK', '{}', ['Content-Disposition: attachment; filename="\xe9"']),
    );
    expect((await api.send(`GET /api/${path}`)).text).toContain(
      `\r\ncontent-disposition: attachment; filename="_"; filename*=UTF-8''%C3%A9\r\n`,
    );
  });
});
