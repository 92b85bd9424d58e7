import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { loadConfig } from '../../src/config/load.ts';
import { readRouteTable, routeTableSchema } from '../../src/config/route-table.ts';
import { writeRoutesFile, writeText } from '../support/routes-file.ts';

const options = {
  base: new URL('https://api.example.com/base/'),
  allowHttp: ({ hostname }: URL) => hostname === 'localhost',
  tokenRefusedStatuses: [401],
};
const valid = { path: '/things', target: '/v1/things', methods: { GET: {} } };
const withExample = (example: object, method = 'PUT') => ({
  path: '/things/:id',
  target: '/things',
  methods: { [method]: { example } },
});
const read = (...rows: readonly unknown[]) => readRouteTable({ routes: rows }, options);

test('a row without optional members gets the documented defaults', () => {
  expect(read(valid)).toEqual({
    problems: [],
    routes: [
      {
        path: '/things',
        origin: 'https://api.example.com',
        targetPath: '/base/v1/things',
        methods: { GET: { allOf: [], anyOf: [] } },
        token: 'user',
        tokenRefusedStatuses: [401],
        timeoutMs: 10_000,
        bodyLimitBytes: 10_485_760,
        stream: false,
        idleMs: 300_000,
        webSocket: false,
        requestHeaders: [],
        forwardedFor: false,
        headers: {},
        identityHeaders: {},
        query: undefined,
        saveForms: true,
        rateLimit: undefined,
      },
    ],
  });
});

test('a row can set its own API and all other members', () => {
  const row = {
    path: '/files/:owner/*rest',
    target: 'http://localhost:8080/v2/*rest/of/:owner',
    methods: { GET: { anyOf: ['a', 'b'] }, PUT: { allOf: ['c'] } },
    token: 'user-or-app',
    tokenRefusedStatuses: [401, 403],
    timeoutSeconds: 2.5,
    bodyLimitBytes: 0,
    stream: true,
    idleSeconds: 60,
    webSocket: true,
    requestHeaders: ['X-File-Name'],
    forwardedFor: true,
    headers: { 'X-Api-Version': '2' },
    query: ['q'],
    saveForms: false,
    rateLimit: { limit: 10, windowSeconds: 60 },
  };
  const { timeoutSeconds: _, idleSeconds: __, target: ___, ...same } = row;
  expect(read(row).routes[0]).toEqual({
    ...same,
    origin: 'http://localhost:8080',
    targetPath: '/v2/*rest/of/:owner',
    methods: { GET: { allOf: [], anyOf: ['a', 'b'] }, PUT: { allOf: ['c'], anyOf: [] } },
    timeoutMs: 2_500,
    idleMs: 60_000,
    requestHeaders: ['x-file-name'],
    headers: { 'x-api-version': '2' },
    identityHeaders: {},
  });
});

describe('problems of a route table', () => {
  const paths = [
    'things',
    '/',
    '',
    '/a//b',
    '/a/',
    '/..',
    '/a/../b',
    '/a b',
    '/a?b',
    '/*',
    '/*rest/b',
    '/:',
    '/a:b',
    '/{a}',
    '/a%2fb',
  ];
  test.each([
    ...paths.map((path) => [{ ...valid, path }, 'routes[0].path must be a path under /api']),
    [{ ...valid, target: 'things' }, 'routes[0].target must be a path, or a URL'],
    [{ ...valid, target: 'ftp://api.example.com/' }, 'routes[0].target must be a path, or a URL'],
    [{ ...valid, target: '/things#x' }, 'routes[0].target must not contain a fragment'],
    [{ ...valid, target: 'https://api.example.com/?x=y#z' }, 'routes[0].target must not contain a fragment'],
    [{ ...valid, path: '/a/:id', target: '/things?id=:id' }, 'routes[0].target uses :id in its query'],
    [{ ...valid, path: '/a/:id', target: '/things/:key.json' }, 'routes[0].target uses :key, which is not'],
    [{ ...valid, path: '/a/*rest', target: '/things/*rest.json' }, 'routes[0].target uses *rest.json, which'],
    [{ ...valid, target: 'https://me:pw@api.example.com/' }, 'routes[0].target must not contain credentials'],
    [{ ...valid, target: 'http://api.example.com/' }, 'routes[0].target must be https'],
    [
      { ...valid, path: '/:h', target: 'https://*h.example.com/' },
      'routes[0].target must not contain a parameter in the host',
    ],
    [{ ...valid, target: '/things/:id' }, 'routes[0].target uses :id, which is not in path'],
    [{ ...valid, path: '/a/:id', target: '/b/*id' }, 'routes[0].target uses *id, which is not in path'],
    [{ ...valid, methods: {} }, 'routes[0].methods must name at least one method'],
    [{ ...valid, methods: { TRACE: {} } }, 'routes[0].methods'],
    [{ ...valid, methods: { get: {} } }, 'routes[0].methods'],
    [{ ...valid, methods: { GET: { allOf: ['a b'] } } }, 'routes[0].methods.GET.allOf[0] must be one scope'],
    [{ ...valid, methods: { GET: { scope: ['a'] } } }, 'routes[0].methods.GET'],
    [{ ...valid, methods: ['GET'] }, 'routes[0].methods'],
    [withExample({ title: 'x' }), 'routes[0].methods.PUT.example.title is not known'],
    [withExample({ query: '?a=1' }), 'routes[0].methods.PUT.example.query must be a query string without ?'],
    [
      withExample({ parameters: { idd: '1' } }),
      'routes[0].methods.PUT.example.parameters.idd is not a parameter',
    ],
    [
      withExample({ parameters: { id: '..' } }),
      'routes[0].methods.PUT.example.parameters.id must have a value',
    ],
    [withExample({ headers: { 'a b': '' } }), 'routes[0].methods.PUT.example.headers'],
    [
      withExample({ file: 'f', form: {} }),
      'routes[0].methods.PUT.example can have only one of form and file',
    ],
    [withExample({ file: '' }), 'routes[0].methods.PUT.example.file must be true, or the name of a field'],
    [withExample({ body: 1 }, 'GET'), 'routes[0].methods.GET.example.body cannot be used with GET'],
    [{ ...valid, token: 'mine' }, 'routes[0].token'],
    [{ ...valid, token: 'app', methods: { GET: { anyOf: ['a'] } } }, 'routes[0].methods cannot use anyOf'],
    [{ ...valid, tokenRefusedStatuses: [500] }, 'routes[0].tokenRefusedStatuses[0]'],
    [{ ...valid, timeoutSeconds: 0 }, 'routes[0].timeoutSeconds'],
    [{ ...valid, timeoutSeconds: '10' }, 'routes[0].timeoutSeconds'],
    [{ ...valid, timeoutSeconds: 1e9 }, 'routes[0].timeoutSeconds'],
    [{ ...valid, bodyLimitBytes: -1 }, 'routes[0].bodyLimitBytes'],
    [{ ...valid, webSocket: true, methods: { POST: {} } }, 'routes[0].webSocket requires GET in methods'],
    [{ ...valid, headers: { 'X-A': 'a\r\nb' } }, 'must be printable ASCII'],
    ...[
      'X A',
      'Host',
      'cookie',
      'Content-Length',
      'Transfer-Encoding',
      'Connection',
      'Proxy-Authorization',
    ].map((name) => [{ ...valid, headers: { [name]: 'x' } }, 'routes[0].headers cannot set']),
    [{ ...valid, headers: { AUTHORIZATION: 'x' } }, 'routes[0].headers cannot set Authorization'],
    ...[
      'Cookie',
      'Authorization',
      'X A',
      'TE',
      'Content-Length',
      'Latchkey-Session',
      'X-HTTP-Method-Override',
      'X_Rewrite_URL',
    ].map((name) => [{ ...valid, requestHeaders: [name] }, `routes[0].requestHeaders cannot name "${name}"`]),
    ...['X-Forwarded-For', 'Forwarded', 'X-Real-IP', 'CF-Connecting-IP', 'x_forwarded_host'].map((name) => [
      { ...valid, requestHeaders: [name] },
      `cannot name "${name}", which any caller could set`,
    ]),
    [
      { ...valid, requestHeaders: ['x-a'], headers: { 'X-A': '1' } },
      'requestHeaders names "x-a", which headers sets',
    ],
    [
      { ...valid, forwardedFor: true, headers: { 'X-Forwarded-For': '1' } },
      'routes[0].forwardedFor cannot be true',
    ],
    [{ ...valid, rateLimit: { limit: 0, windowSeconds: 1 } }, 'routes[0].rateLimit.limit'],
    [{ ...valid, ratelimit: {} }, 'routes[0]'],
    ['/things', 'routes[0]'],
  ] as readonly (readonly [unknown, string])[])('are reported with their position: %j', (row, fault) => {
    const { problems } = read(row);
    expect(problems.join('\n')).toContain(fault);
  });

  test('are all reported at once, for every row', () => {
    const { problems } = read({ ...valid, target: 'x' }, { ...valid, path: '/other', target: '/:x' }, valid);
    expect(problems).toEqual([
      'routes[0].target must be a path, or a URL beginning with https:// or http://',
      'routes[1].target uses :x, which is not in path',
      'routes[2].path duplicates GET of routes[0]',
    ]);
  });

  test('of members and of rows as a whole are reported in the same pass', () => {
    const { problems } = read(
      { ...valid, ratelimit: {}, target: '/:x', timeoutSeconds: 0, headers: { Host: 'a' }, webSocket: true },
      { target: '/y', methods: { get: {}, POST: { allof: [] } }, token: 'app', rateLimit: { max: 1 } },
      7,
      { ...valid, webSocket: true, methods: { POST: {} } },
      valid,
    );
    expect(problems.map((each) => each.replace(/(is invalid).*/, '$1'))).toEqual([
      'routes[0].timeoutSeconds is invalid',
      'routes[0].ratelimit is not known; did you mean rateLimit?',
      'routes[0].headers cannot set "Host"',
      'routes[0].target uses :x, which is not in path',
      'routes[1].path is missing',
      'routes[1].methods.POST.allof is not known; did you mean allOf?',
      'routes[1].methods.get is not known; did you mean GET?',
      'routes[1].rateLimit.limit is missing',
      'routes[1].rateLimit.windowSeconds is missing',
      'routes[1].rateLimit.max is not known; possible are limit, windowSeconds',
      'routes[2] is invalid',
      'routes[3].webSocket requires GET in methods',
      'routes[4].path duplicates GET of routes[0]',
    ]);
  });

  test.each([
    ...[
      ['timeout', 'timeoutSeconds'],
      ['rate_limit', 'rateLimit'],
      ['tokens', 'token'],
      ['websocket', 'webSocket'],
    ],
    ...[
      ['header', 'headers'],
      ['bodyLimit', 'bodyLimitBytes'],
      ['method', 'methods'],
      ['streams', 'stream'],
    ],
  ])('name for the unknown member %s the nearest one, %s', (name, nearest) => {
    expect(read({ ...valid, [name!]: 1 }).problems).toEqual([
      `routes[0].${name} is not known; did you mean ${nearest}?`,
    ]);
  });

  test('include two rows with the same path and method, whatever their parameter names', () => {
    const first = { ...valid, path: '/things/:id', methods: { GET: {}, PUT: {} } };
    expect(read(first, { ...first, path: '/things/:name', methods: { PUT: {} } }).problems).toEqual([
      'routes[1].path duplicates PUT of routes[0]',
    ]);
    expect(read(first, { ...first, methods: { DELETE: {} } }).problems).toEqual([]);
  });

  test.each([null, [], {}, { routes: [] }, { routes: {} }, { route: [valid] }, 'x', 1])(
    'include JSON that is not a route table: %j',
    (json) => {
      expect(readRouteTable(json, options).problems.length).toBeGreaterThan(0);
    },
  );

  test('include a path as target without OAUTH2_API_BASE_URL', () => {
    const { problems } = readRouteTable({ routes: [valid] }, { ...options, base: undefined });
    expect(problems.join()).toContain('is a path, but OAUTH2_API_BASE_URL is not set');
  });
});

describe('API_ROUTES_FILE', () => {
  const env = {
    OAUTH2_ISSUER: 'https://login.example.com',
    OAUTH2_CLIENT_ID: 'client',
    OAUTH2_CLIENT_SECRET: 'hush-hush',
    OAUTH2_REDIRECT_URI: 'http://localhost:3000/auth/callback',
    SESSION_SECRET: 'a-secret-for-tests-that-is-long-enough',
  };
  const load = (API_ROUTES_FILE: string) => {
    try {
      return String(loadConfig({ ...env, API_ROUTES_FILE }).routes.length);
    } catch (error) {
      return (error as Error).message;
    }
  };

  test('replaces the default table, and needs no OAUTH2_API_BASE_URL when every target is a URL', () => {
    expect(load(writeRoutesFile([{ ...valid, target: 'https://api.example.com/v1' }]))).toBe('1');
  });

  test('is reported like any other problem when it is missing, not JSON or invalid', () => {
    expect(load('/nowhere.json')).toContain('API_ROUTES_FILE cannot be read: Error: ENOENT');
    expect(load(fileURLToPath(import.meta.url))).toContain('API_ROUTES_FILE is not valid JSON');
    expect(load(writeRoutesFile([valid]))).toContain(
      'API_ROUTES_FILE is invalid: routes[0].target is a path',
    );
  });

  test('is reported with the line of each problem', () => {
    const lines = ['{', '  "routes": [', '    {', '      "path": "/a",', '      "target": "https://a/:id",'];
    const rest = [
      '      "methods": {',
      '        "GET": { "allof": [] }',
      '      }',
      '    },',
      '    { "path": 1 }',
    ];
    expect(
      load(writeText([...lines, ...rest, '  ]', '}'].join('\n')))
        .split('\n')
        .slice(1),
    ).toEqual(
      [
        'routes[0].methods.GET.allof is not known; did you mean allOf? (line 7)',
        'routes[0].target uses :id, which is not in path (line 5)',
        'routes[1].path is invalid: Invalid input: expected string, received number (line 10)',
        'routes[1].target is missing (line 10)',
        'routes[1].methods is missing (line 10)',
      ].map((each) => expect.stringContaining(`API_ROUTES_FILE is invalid: ${each}.`)),
    );
  });

  test.each([
    [
      '{\n  "routes": [\n    { "path": "/a" },\n  ]\n}',
      'a value is expected at line 4, column 3: JSON has no comma after the last item',
    ],
    ['{\n  "routes": []\n  "x": 1\n}', 'a comma or } is expected at line 3, column 3'],
    [
      '{\n  // the routes\n}',
      'a name in double quotes is expected at line 2, column 3: JSON has no comments',
    ],
    [
      "{\n 'routes': [] }",
      'a name in double quotes is expected at line 2, column 2: JSON needs double quotes',
    ],
    ['{ "routes":\n [', 'the file ends where a value is expected (line 2, column 3)'],
    ['', 'the file ends where a value is expected (line 1, column 1)'],
    ['{ "routes": [] }\n}', 'the end of the file is expected at line 2, column 1'],
    ['{ "routes": "hidden\n" }', 'a complete string is expected at line 1, column 13'],
    ['{ "routes": [],\n "routes": [] }', '"routes" is repeated on line 2'],
    ['{ "routes": [{ "path": "/a",\n\n"path": "/b" }] }', '"path" is repeated on line 3'],
    ['{ "routes": hidden }', 'a value is expected at line 1, column 13'],
    ['{ "routes": 01 }', 'a comma or } is expected at line 1, column 14'],
  ])('that is not valid JSON is reported with the line of the error: %j', (text, problem) => {
    const message = load(writeText(text));
    expect(message).toContain(`API_ROUTES_FILE is not valid JSON: ${problem}.`);
    expect(message).not.toContain('hidden');
  });

  test('may begin with a byte order mark; other encodings are reported', () => {
    const text = JSON.stringify({ routes: [{ ...valid, target: 'https://api.example.com' }] });
    expect(load(writeText(`\uFEFF${text}`))).toBe('1');
    expect(load(writeText(Buffer.from(text, 'utf16le').swap16()))).toContain('API_ROUTES_FILE is not ');
    expect(load(writeText(Buffer.from('{"ä":1}', 'latin1')))).toContain('API_ROUTES_FILE is not UTF-8 text');
  });

  test('is checked completely although OAUTH2_API_BASE_URL is invalid', () => {
    const API_ROUTES_FILE = writeRoutesFile([{ ...valid, target: '/:x' }]);
    for (const base of ['ftp://x', 'https://api.example.com/?a=b'])
      expect(() => loadConfig({ ...env, API_ROUTES_FILE, OAUTH2_API_BASE_URL: base })).toThrow(
        /OAUTH2_API_BASE_URL must .*routes\[0\]\.target uses :x/s,
      );
  });

  test('is described by the published JSON schema', () => {
    const published = readFileSync(new URL('../../docs/api-routes.schema.json', import.meta.url), 'utf8');
    expect(JSON.parse(published)).toEqual(JSON.parse(JSON.stringify(routeTableSchema())));
  });

  test('defaults to the routes /profile and /data when it is unset', () => {
    const { routes } = loadConfig({ ...env, OAUTH2_API_BASE_URL: 'https://api.example.com' });
    expect(routes.map(({ path, targetPath, methods }) => [path, targetPath, Object.keys(methods)])).toEqual([
      ['/profile', '/api/user/profile', ['GET']],
      ['/data', '/api/user/data', ['GET', 'POST']],
    ]);
  });
});
