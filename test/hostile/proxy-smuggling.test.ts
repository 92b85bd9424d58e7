import { cookieNames } from '../support/browser.ts';
import { type ApiWorld, createApiWorld } from './support/api-world.ts';
import { formatHead, sendRaw } from './support/raw-http.ts';
import type { RecordedRequest } from './support/recorder.ts';

/** Headers that are never forwarded: they concern only the browser and us, or an API might trust them as ours. */
const dropped = [
  ...['Authorization', 'AUTHORIZATION', 'Proxy-Authorization', 'Cookie', 'Cookie2'],
  ...['Origin', 'Referer', 'Sec-Fetch-Mode', 'Sec-CH-UA', 'Sec-GPC', 'Sec-WebSocket-Key'],
  ...['Forwarded', 'Via', 'X-Forwarded', 'X-Forwarded-For', 'X-Forwarded-Host', 'X-Forwarded-Proto'],
  ...[
    'X-Forwarded-Port',
    'X-Forwarded-Prefix',
    'X-Forwarded-User',
    'X-Forwarded-Email',
    'X-Forwarded-Groups',
  ],
  ...['X-Forwarded-Access-Token', 'X-Forwarded-Preferred-Username', 'X-Forwarded-Client-Cert'],
  ...[
    'X-Real-IP',
    'X-Client-IP',
    'True-Client-IP',
    'X-Cluster-Client-IP',
    'CF-Connecting-IP',
    'Fastly-Client-IP',
  ],
  ...['X-Original-URL', 'X-Original-Method', 'X-Original-Host', 'X-Rewrite-URL'],
  ...['X-HTTP-Method', 'X-HTTP-Method-Override', 'X-Method-Override'],
  ...['X-User', 'X-User-Id', 'X-UserName', 'X-Remote-User', 'Remote-User', 'X-Authenticated-User'],
  ...['X-Authenticated-UserId', 'X-Auth-Request-User', 'X-Auth-Token', 'X-Auth-Request-Access-Token'],
  ...['X-Access-Token', 'X-Id-Token', 'X-Api-Key', 'X-MS-Client-Principal', 'X-MS-Client-Principal-Id'],
  ...[
    'X-Goog-Authenticated-User-Email',
    'X-Goog-IAP-JWT-Assertion',
    'X-Amzn-Oidc-Data',
    'X-Amzn-Oidc-Identity',
  ],
  // identity headers of other gateways: Authelia, Azure, Cloudflare Access, Grafana, Kong, Pomerium, Vouch, TLS proxies
  ...['Remote-Groups', 'Remote-Email', 'Remote-Name', 'X-MS-Token-AAD-Access-Token'],
  ...[
    'Cf-Access-Jwt-Assertion',
    'Cf-Access-Authenticated-User-Email',
    'X-WebAuth-User',
    'X-Consumer-Username',
  ],
  ...['X-Consumer-Id', 'X-Credential-Identifier', 'X-Pomerium-Jwt-Assertion', 'X-Pomerium-Claim-Email'],
  ...[
    'X-Vouch-User',
    'X-Vouch-IdP-AccessToken',
    'X-JWT-Assertion',
    'X-SSL-Client-Cert',
    'X-SSL-Client-Verify',
  ],
  ...['SSL-Client-Cert', 'X-Client-Cert', 'X-Envoy-External-Address', 'X-Envoy-Original-Path', 'Client-Cert'],
  // no list of words contains them all
  ...[
    'X-Sub',
    'X-Tenant-Id',
    'X-Scopes',
    'X-Impersonate',
    'X-Admin',
    'X-Host',
    'True-Ip',
    'X-Org',
    'X-Permissions',
  ],
  ...[
    'X-On-Behalf-Of',
    'X-Internal',
    'X-Debug',
    'X-Custom',
    'X-File-Name',
    'X-Feature-Flags',
    'From',
    'Max-Forwards',
  ],
  ...[
    'Surrogate-Capability',
    'X-ARR-LOG-ID',
    'X-Forwarded-For-Original',
    'Accept_Language',
    'Content-Foo_Bar',
    'If_Match',
  ],
  // hop-by-hop headers
  ...['Keep-Alive', 'Proxy-Connection', 'TE', 'Trailer', 'Upgrade', 'HTTP2-Settings'],
  // some servers treat _ as -
  ...['X_Forwarded_For', 'X_User', 'Remote_User', 'Content_Length', 'Transfer_Encoding', 'Auth_orization'],
  'X-Request-Id',
];

/** Headers of the browser that are forwarded unchanged. */
const forwardedHeaders: readonly (readonly [name: string, value: string])[] = [
  ['Accept', 'application/json'],
  ['Accept-Language', 'pl, en;q=0.5'],
  ['If-None-Match', '"abc"'],
  ['Range', 'bytes=0-9'],
  ['Accept-Profile', 'api'],
  ['If-Match', '"abc"'],
  ['If-Unmodified-Since', 'Mon, 01 Jan 2024 00:00:00 GMT'],
  ['If-Range', '"abc"'],
  ['Cache-Control', 'no-cache'],
  ['Last-Event-ID', '17'],
  ['X-Requested-With', 'XMLHttpRequest'],
  ['Idempotency-Key', 'k'],
  ['Prefer', 'return=minimal'],
  ['User-Agent', 'test'],
  ['Tus-Resumable', '1.0.0'],
  ['Upload-Metadata', 'name eA=='],
  ['OData-MaxVersion', '4.0'],
  ['Apollo-Require-Preflight', 'true'],
  ['Mcp-Session-Id', 's'],
  ['Mcp-Protocol-Version', '2025-06-18'],
  ['DNT', '1'],
];

const listed = ['/api/user/profile', '/api/user/data'];

describe('a request to the API', () => {
  let api: ApiWorld;
  beforeAll(async () => {
    api = await createApiWorld();
  });
  afterAll(() => api.close());
  beforeEach(() => api.recorder.respondWith(undefined));

  /** Checks what must be true of every forwarded request. */
  function expectIntact({ headers, target }: RecordedRequest) {
    const of = (name: string) => headers.filter(([each]) => each === name).map(([, value]) => value);
    expect(of('authorization')).toEqual([`Bearer ${api.accessToken}`]);
    expect(of('host')).toEqual([api.recorder.host]);
    expect(of('cookie')).toEqual([]);
    expect(of('content-length').length + of('transfer-encoding').length).toBeLessThan(2);
    expect(listed).toContain(target.split('?')[0]);
    expect(target).not.toMatch(/[\s#]/);
  }

  test.each(dropped.map((each) => [each]))('never contains the header %s of the browser', async (name) => {
    const { response, forwarded } = await api.sendAndRecord('GET /api/profile', [
      'Sec-Fetch-Site: same-origin',
      `${name}: evil`,
      `${name}: evil2`,
    ]);
    for (const each of forwarded) {
      expectIntact(each);
      expect(each.headers.filter(([, value]) => value.includes('evil'))).toEqual([]);
    }
    expect(response.statuses).toEqual(forwarded.length === 1 ? [200] : [400]);
  });

  test('contains the headers a browser may set', async () => {
    const { forwarded } = await api.sendAndRecord(
      'GET /api/profile',
      forwardedHeaders.map(([name, value]) => `${name}: ${value}`),
    );
    const expected = forwardedHeaders.map(([name, value]) => [name.toLowerCase(), value]);
    expect(forwarded[0]!.headers).toEqual(expect.arrayContaining(expected));
  });

  test.each([
    ['Connection: close, X-Secret', 'x-secret'],
    ['Connection: x-secret,close', 'x-secret'],
    ['Connection: close ,\tX-SECRET ,, ', 'x-secret'],
    ['Connection: close, Accept', 'accept'],
    ['Connection: close, Content-Type', 'content-type'],
  ])('does not contain the header that "%s" names', async (connection, name) => {
    const { forwarded } = await api.sendAndRecord('GET /api/profile', [connection, `${name}: evil`]);
    expect(forwarded).toHaveLength(1);
    expect(forwarded[0]!.headers.filter(([each, value]) => each === name && value === 'evil')).toEqual([]);
    expectIntact(forwarded[0]!);
  });

  test.each([
    ['close, Authorization'],
    ['close, Cookie'],
    ['close, Host'],
    ['close, Authorization, Host, Content-Length, Transfer-Encoding, X-Forwarded-For'],
  ])('keeps our token and host when the browser sends Connection: %s', async (connection) => {
    const { forwarded } = await api.sendAndRecord('GET /api/profile', [`Connection: ${connection}`]);
    expect(forwarded).toHaveLength(1);
    expectIntact(forwarded[0]!);
  });

  test.each([
    ['/api/profile', listed[0]],
    ['/api/data', listed[1]],
    ['/api/data?a=1&a=2', `${listed[1]}?a=1&a=2`],
    ['/api/data?', `${listed[1]}?`],
    ['/api/data?next=//evil.example/../x', `${listed[1]}?next=//evil.example/../x`],
    ['/api/data?x=%0d%0aX-Evil:%201%0d%0a', `${listed[1]}?x=%0d%0aX-Evil:%201%0d%0a`],
    ['/api/data?x=%00%23%3f', `${listed[1]}?x=%00%23%3f`],
    ['/api/data?x=y#/../admin', `${listed[1]}?x=y`],
    ['/api/data#/../admin', listed[1]],
    ['/api/data?access_token=evil', `${listed[1]}?access_token=evil`],
    ['http://evil.example/api/profile', listed[0]],
    ['https://evil.example:8443/api/data?x=y', `${listed[1]}?x=y`],
    ['http://user:password@evil.example/api/profile', listed[0]],
    ['http:///api/profile', listed[0]],
  ])(
    'has the target of its route, or is not sent, when the browser requests %s',
    async (target, expected) => {
      const { response, forwarded } = await api.sendAndRecord(`GET ${target}`);
      for (const each of forwarded) expectIntact(each);
      if (forwarded.length > 0) expect([forwarded[0]!.target, response.statuses]).toEqual([expected, [200]]);
      else expect(response.statuses).toEqual([target.startsWith('/api') ? 'must be forwarded' : 400]);
    },
  );

  test.each(
    [
      ...[
        '/api',
        '/api/',
        '/api/unknown',
        '/api/user/profile',
        '/api/user/data',
        '/api/profile/',
        '/api/profile/x',
      ],
      ...['/api//profile', '//api/profile', '/api/./profile', '/api/x/../profile', '/api/../api/profile'],
      ...[
        '/api/%2e%2e/admin',
        '/api/%2e/profile',
        '/api/profile/..%2f..%2fadmin',
        '/api/profile/%2e%2e/admin',
      ],
      ...[
        '/api/profile%2f..%2fadmin',
        '/api%2fprofile',
        '/%61pi/profile',
        '/api/%70rofile',
        '/api/profil%65',
      ],
      ...['/api/profile;x=y', '/api;x/profile', '/api/profile%00', '/api/profile%00.html', '/api/profile%20'],
      ...['/api/profile%0a', '/api/profile%3fx', '/api/profile%23', '/api/profile.json', '/api/profile:80'],
      ...['/API/profile', '/Api/profile', '/api/Profile', '/api/PROFILE', '/api\\profile', '/api/\\profile'],
      ...[
        '/api/@evil.example/profile',
        '/api/%',
        '/api/%zz',
        '/api/%c0%ae%c0%ae/admin',
        '/api/profile&x',
        '*',
        '/*',
      ],
      ...['http://evil.example/admin', 'http:/api/profile', 'evil.example:80', 'api/profile'],
      ...['http://evil.example//api/profile', '//evil.example/api/profile', '?/api/profile'],
    ].map((each) => [each]),
  )('is not sent when the browser requests %s', async (target) => {
    const { response, forwarded } = await api.sendAndRecord(`GET ${target}`);
    expect(forwarded).toEqual([]);
    expect(response.statuses).toHaveLength(1);
    expect(Math.floor(response.statuses[0]! / 100)).toBe(4);
  });

  test.each([['/api/profile'], ['/api/data']])('is not sent for OPTIONS %s', async (path) => {
    const { response, forwarded } = await api.sendAndRecord(`OPTIONS ${path}`);
    expect([response.statuses, forwarded]).toEqual([[204], []]);
    expect(response.text).toMatch(/\r\nAllow: GET, HEAD, (POST, )?OPTIONS\r\n/);
  });

  const methods = ['TRACE', 'PUT', 'DELETE', 'PATCH', 'PROPFIND', 'QUERY', 'PURGE', 'SEARCH', 'get', 'GE T'];
  test.each([
    ...methods.flatMap((method) => [`${method} /api/profile`, `${method} /api/data`]),
    'POST /api/profile',
    'CONNECT evil.example:80',
    'CONNECT /api/profile',
    'PRI *',
  ])('is not sent for %s', async (requestLine) => {
    const { response, forwarded } = await api.sendAndRecord(requestLine);
    expect(forwarded).toEqual([]);
    expect(response.statuses.filter((status) => status < 400 || status >= 500)).toEqual([]);
  });

  test.each([
    ['GET', '/api/data', 200],
    ['HEAD', '/api/data', 200],
    ['POST', '/api/data', 201],
  ])(
    'is a %s when the browser sends that method, whatever override headers say',
    async (method, path, status) => {
      const overrides = [
        'X-HTTP-Method-Override: DELETE',
        'X-Method-Override: DELETE',
        'X-HTTP-Method: DELETE',
      ];
      const { response, forwarded } = await api.sendAndRecord(`${method} ${path}`, overrides);
      expect([forwarded.map((each) => each.method), response.statuses]).toEqual([[method], [status]]);
      expectIntact(forwarded[0]!);
      expect(JSON.stringify(forwarded[0]!.headers)).not.toContain('DELETE');
    },
  );

  test.each([
    ['a space before the colon', 'Authorization : Bearer evil'],
    ['a folded header line', 'X-Custom: a\r\n Authorization: Bearer evil'],
    ['a bare line feed in a header', 'X-Custom: a\nAuthorization: Bearer evil'],
    ['a bare carriage return in a header', 'X-Custom: a\rAuthorization: Bearer evil'],
    ['a NUL in a header', 'X-Custom: a\0Authorization: Bearer evil'],
    ['a header without a name', ': Bearer evil'],
    ['a header without a colon', 'Authorization Bearer evil'],
    ['a header name that is not ASCII', 'Authorizat\xefon: Bearer evil'],
    ['a second Host header', 'Host: evil.example'],
  ])('has only our token and our host, or is not sent, with %s', async (_how, line) => {
    const { response, forwarded } = await api.sendAndRecord('GET /api/profile', [line]);
    for (const each of forwarded) {
      expectIntact(each);
      expect(
        each.headers.filter(([name]) => name.includes('\n') || name.startsWith('authorizat')),
      ).toHaveLength(1);
    }
    expect(response.statuses).toEqual(forwarded.length === 1 ? [200] : [400]);
  });

  test('is not sent without a valid session', async () => {
    api.recorder.requests.length = 0;
    const cookie = `Cookie: ${cookieNames(api.world.origin).session}=s%3Ax.y`;
    const callers = [[], [`Authorization: Bearer ${api.accessToken}`], [cookie]];
    for (const headers of callers) {
      const lines = ['Host: localhost', 'Connection: close', ...headers];
      const response = await sendRaw(api.world.origin, [formatHead('GET /api/profile', lines)]);
      expect(response.statuses).toEqual([401]);
    }
    expect(api.recorder.requests).toEqual([]);
  });
});
