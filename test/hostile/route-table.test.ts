import { type ApiWorld, createApiWorld } from './support/api-world.ts';

const routes = [
  { path: '/things/:id', target: '/v1/things/:id', methods: { GET: {}, DELETE: {} } },
  { path: '/things/:id/parts/:part', target: '/v1/parts/:part/of/:id', methods: { GET: {} } },
  { path: '/files/*rest', target: '/v2/files/*rest', methods: { GET: {}, PUT: {} } },
  { path: '/search', target: '/v1/search', methods: { GET: {} }, query: ['q', 'type', 'a b'] },
  {
    path: '/keyed',
    target: '/v1/keyed',
    methods: { GET: {} },
    headers: { 'X-Custom': 'ours', 'X-Api-Key': 'k' },
  },
  { path: '/open', target: '/v1/open', methods: { GET: {} }, token: 'none' },
  { path: '/named', target: '/v1/named', methods: { GET: {} }, requestHeaders: ['X-File-Name', 'client-id'] },
  { path: '/by-address', target: '/v1/by-address', methods: { GET: {} }, forwardedFor: true },
  { path: '/many', target: '/v1/many', methods: { GET: {} } },
];
const droppedMessage =
  'a header of the caller was dropped; if the API needs it, add it to requestHeaders of the route';

describe('a route with parameters', () => {
  let api: ApiWorld;
  beforeAll(async () => {
    api = await createApiWorld(routes);
  });
  afterAll(() => api.close());

  test.each([
    ['/things/42', '/v1/things/42'],
    ['/things/a-b_c.d~e', '/v1/things/a-b_c.d~e'],
    ['/things/a%20b', '/v1/things/a%20b'],
    ['/things/%C5%BC%C3%B3%C5%82w', '/v1/things/%C5%BC%C3%B3%C5%82w'],
    ['/things/urn:isbn:1', '/v1/things/urn:isbn:1'],
    ['/things/a@b,c=d&e+f$', '/v1/things/a@b,c=d&e+f$'],
    // as received: a reserved character and its escape are different to S3 and others
    ...[
      'a;b',
      'a;v=1',
      'a%3Bb',
      'a%2Bb',
      'a+b',
      'a%26b',
      'a%27',
      'a%3Ab',
      'a%40b',
      'a%24b',
      'a%3Db',
      'a%21b',
      'a%28b%29',
    ].map((each): [string, string] => [`/things/${each}`, `/v1/things/${each}`]),
    ...['a%2bb', '%7Ea', '%41', 'a%252Bb', 'a%7Cb', 'a%5Bb', "it's(1)!*~", 'doc:batchUpdate', '%C3%A9'].map(
      (each): [string, string] => [`/things/${each}`, `/v1/things/${each}`],
    ),
    ['/things/a|b"c^', '/v1/things/a%7Cb%22c%5E'],
    ['/files/a%2Bb/c+d/e%40f', '/v2/files/a%2Bb/c+d/e%40f'],
    ['/things/a%2Bb/parts/c+d', '/v1/parts/c+d/of/a%2Bb'],
    ['/things/a%2Bb#/things/x', '/v1/things/a%2Bb'],
    ['/things/a%2Bb?next=/things/x', '/v1/things/a%2Bb?next=/things/x'],
    ['/things/a%3Fb%23c', '/v1/things/a%3Fb%23c'],
    ['/things/100%25', '/v1/things/100%25'],
    ['/things/...', '/v1/things/...'],
    ['/things/:id', '/v1/things/:id'],
    ['/things/*', '/v1/things/*'],
    ['/things/1/parts/2?x=y', '/v1/parts/2/of/1?x=y'],
    ['/files/a', '/v2/files/a'],
    ['/files/a/b/c.txt', '/v2/files/a/b/c.txt'],
    ['/files/a/', '/v2/files/a/'],
    ['/search?q=1&type=track', '/v1/search?q=1&type=track'],
    ['/search?q=1&limit=2', '/v1/search?q=1'],
    ['/search?limit=2', '/v1/search'],
    ['/search?%71=1&a+b=2&a%20b=3', '/v1/search?%71=1&a+b=2&a%20b=3'],
    ['/search?q=1;limit=2', '/v1/search?q=1%3Blimit=2'],
    ['/search?Q=1&q[]=2&q%00=3&%zz=4&=5&', '/v1/search'],
    ['/search?q=1#/../admin', '/v1/search?q=1'],
  ] as readonly (readonly [string, string])[])(
    'maps a request for %s to the target %s',
    async (path, target) => {
      const { response, forwarded } = await api.sendAndRecord(`GET /api${path}`);
      expect([forwarded.map((each) => each.target), response.statuses]).toEqual([[target], [200]]);
    },
  );

  test('an absolute request target is mapped with its escapes as well', async () => {
    const { forwarded } = await api.sendAndRecord('GET http://localhost/api/things/a%2Bb?c=%2B');
    expect(forwarded.map(({ target }) => target)).toEqual(['/v1/things/a%2Bb?c=%2B']);
  });

  const invalidValues = [
    ...['.', '..', '%2e', '%2E%2e', '.%2e', '..;', '..;x=y', '%2e%2e%3b', '.;/x', '..%00', '..%2f', '%2f..'],
    ...[
      '%2f',
      'a%2fb',
      'a%2Fb',
      '%5c',
      'a%5cb',
      'a\\b',
      '%252f',
      '%252e%252e',
      '%255c',
      'a%252fb',
      '%25%32%66',
    ],
    ...['a%00', 'a%0d%0aX-Evil:%201', 'a%0a', 'a%7f', 'a%c2%85', '%', '%zz', '%c0%af', '%c0%ae%c0%ae'],
  ];
  test.each([
    ...invalidValues.flatMap((each) => [
      `/things/${each}`,
      `/things/1/parts/${each}`,
      `/files/${each}`,
      `/files/a/${each}/b`,
    ]),
    ...[
      '/things',
      '/things/',
      '/things/1/',
      '/things/1/2',
      '/things//1',
      '/files',
      '/files/',
      '/files//',
      '/files//a',
    ],
    ...['/files/a//b', '/files/a//', '/Things/1', '/search/', '/open/x', '/things/1/parts/', '//files/a'],
  ])('rejects %s without calling the API', async (path) => {
    const { response, forwarded } = await api.sendAndRecord(`GET /api${path}`);
    for (const { target } of forwarded) expect(target).toBe('not forwarded');
    expect(response.statuses).toHaveLength(1);
    expect(Math.floor(response.statuses[0]! / 100)).toBe(4);
  });

  test('accepts only its own methods, and lists them in Allow', async () => {
    for (const [requestLine, allow] of [
      ['POST /api/things/1', 'GET, HEAD, DELETE, OPTIONS'],
      ['DELETE /api/files/1', 'GET, HEAD, PUT, OPTIONS'],
      ['PATCH /api/search', 'GET, HEAD, OPTIONS'],
    ]) {
      const { response, forwarded } = await api.sendAndRecord(requestLine!);
      expect([response.statuses, forwarded]).toEqual([[405], []]);
      expect(response.text).toContain(`\r\nAllow: ${allow}\r\n`);
    }
    const { forwarded } = await api.sendAndRecord('DELETE /api/things/1');
    expect(forwarded.map(({ method, target }) => `${method} ${target}`)).toEqual(['DELETE /v1/things/1']);
  });

  test('sends its configured headers, which the browser cannot override', async () => {
    const { forwarded } = await api.sendAndRecord('GET /api/keyed', [
      'X-Custom: theirs',
      'X-Api-Key: theirs',
    ]);
    const of = (name: string) =>
      forwarded[0]!.headers.filter(([each]) => each === name).map(([, value]) => value);
    expect([of('x-custom'), of('x-api-key'), of('authorization')]).toEqual([
      ['ours'],
      ['k'],
      [`Bearer ${api.accessToken}`],
    ]);
  });

  const sentHeaders = async (path: string, headers: readonly string[]) =>
    Object.fromEntries((await api.sendAndRecord(`GET /api${path}`, headers)).forwarded[0]!.headers);
  const droppedLines = () =>
    api.world.latchkey.logLines
      .map((line) => JSON.parse(line))
      .filter(({ msg }) => msg === droppedMessage)
      .map(({ route, header, level }) => ({ route, header, level }));

  test('sends the headers of the caller that requestHeaders names', async () => {
    const sent = await sentHeaders('/named', ['X-File-Name: a.txt', 'Client-Id: c', 'X-Tenant-Name: t']);
    expect(sent).toMatchObject({ 'x-file-name': 'a.txt', 'client-id': 'c' });
    expect(sent).not.toHaveProperty('x-tenant-name');
  });

  test('sends the real address of the caller with forwardedFor, whatever the caller claims', async () => {
    const claims = ['X-Forwarded-For: 9.9.9.9', 'X-Real-IP: 9.9.9.9', 'Forwarded: for=9.9.9.9'];
    const sent = await sentHeaders('/by-address', claims);
    expect(sent['x-forwarded-for']).toBe('127.0.0.1');
    expect(JSON.stringify(sent)).not.toContain('9.9.9.9');
    expect(await sentHeaders('/named', claims)).not.toHaveProperty('x-forwarded-for');
  });

  test('a dropped header is a warning once for each route and name, and is named in each response', async () => {
    const headers = [
      'X-File-Name: a',
      'X-Trace-Name: b',
      'Sec-GPC: 1',
      'Referer: /',
      'X-Custom: c',
      'Priority: u=1',
    ];
    for (const path of ['/keyed', '/keyed', '/named']) {
      const { response } = await api.sendAndRecord(`GET /api${path}`, headers);
      const names = path === '/keyed' ? 'x-file-name, x-trace-name' : 'x-trace-name, x-custom';
      expect(response.text).toContain(`\r\nLatchkey-Dropped-Headers: ${names}\r\n`);
    }
    expect(droppedLines().filter(({ header }) => header === 'x-trace-name')).toEqual([
      { route: '/keyed', header: 'x-trace-name', level: 'warn' },
      { route: '/named', header: 'x-trace-name', level: 'warn' },
    ]);
    const { response } = await api.sendAndRecord('GET /api/keyed', [
      'Accept: */*',
      'Sec-Fetch-Site: same-origin',
    ]);
    expect(response.text).not.toContain('Latchkey-Dropped-Headers');
  });

  test('a caller who invents header names cannot fill the log or the memory', async () => {
    for (let call = 0; call < 10; call += 1) {
      const invented = Array.from({ length: 50 }, (_, index) => `X-${call}-${index}-${'n'.repeat(100)}: v`);
      const { response } = await api.sendAndRecord('GET /api/many', invented);
      const named = /Latchkey-Dropped-Headers: (.*)\r\n/.exec(response.text)![1]!.split(', ');
      expect([named.length, Math.max(...named.map((name) => name.length))]).toEqual([20, 64]);
    }
    expect(droppedLines().filter(({ route }) => route === '/many')).toHaveLength(20);
  });

  test('sends no credentials when its token is none, whatever the browser sends', async () => {
    const { response, forwarded } = await api.sendAndRecord('GET /api/open', ['Authorization: Bearer evil']);
    expect(response.statuses).toEqual([200]);
    const names = forwarded[0]!.headers.map(([name]) => name);
    expect(names).not.toContain('authorization');
    expect(names).not.toContain('cookie');
  });
});
