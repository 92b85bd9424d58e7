import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { loadConfig } from '../../src/config/load.ts';
import { readRouteTable, routeTableSchema } from '../../src/config/route-table.ts';
import { writeRoutesFile } from '../support/routes-file.ts';

const options = {
  base: new URL('https://api.example.com/base/'),
  allowHttp: ({ hostname }: URL) => hostname === 'localhost',
  tokenRefusedStatuses: [401],
};
const good = { path: '/things', target: '/v1/things', methods: { GET: {} } };
const read = (...rows: readonly unknown[]) => readRouteTable({ routes: rows }, options);

test('a row that says little means what the documentation says', () => {
  expect(read(good)).toEqual({
    faults: [],
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
        headers: {},
        query: undefined,
        rateLimit: undefined,
      },
    ],
  });
});

test('a row may have an API of its own, and every member its own value', () => {
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
    headers: { 'X-Api-Version': '2' },
    query: ['q'],
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
    headers: { 'x-api-version': '2' },
  });
});

describe('a fault is told with its place', () => {
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
    ...paths.map((path) => [{ ...good, path }, 'routes[0].path must be a path below /api']),
    [{ ...good, target: 'things' }, 'routes[0].target must be a path, or a URL'],
    [{ ...good, target: 'ftp://api.example.com/' }, 'routes[0].target must be a path, or a URL'],
    [{ ...good, target: '/things?x=y' }, 'routes[0].target must not hold a query'],
    [{ ...good, target: 'https://api.example.com/?x=y' }, 'routes[0].target must not hold a user'],
    [{ ...good, target: 'https://me:pw@api.example.com/' }, 'routes[0].target must not hold a user'],
    [{ ...good, target: 'http://api.example.com/' }, 'routes[0].target must be https'],
    [
      { ...good, path: '/:h', target: 'https://*h.example.com/' },
      'routes[0].target must not have a parameter in its host',
    ],
    [{ ...good, target: '/things/:id' }, 'routes[0].target uses :id, which path does not have'],
    [{ ...good, path: '/a/:id', target: '/b/*id' }, 'routes[0].target uses *id, which path does not have'],
    [{ ...good, methods: {} }, 'routes[0].methods must name at least one method'],
    [{ ...good, methods: { TRACE: {} } }, 'routes[0].methods'],
    [{ ...good, methods: { get: {} } }, 'routes[0].methods'],
    [{ ...good, methods: { GET: { allOf: ['a b'] } } }, 'routes[0].methods.GET.allOf[0] must be one scope'],
    [{ ...good, methods: { GET: { scope: ['a'] } } }, 'routes[0].methods.GET'],
    [{ ...good, methods: ['GET'] }, 'routes[0].methods'],
    [{ ...good, token: 'mine' }, 'routes[0].token'],
    [{ ...good, token: 'app', methods: { GET: { anyOf: ['a'] } } }, 'routes[0].methods cannot have anyOf'],
    [{ ...good, tokenRefusedStatuses: [500] }, 'routes[0].tokenRefusedStatuses[0]'],
    [{ ...good, timeoutSeconds: 0 }, 'routes[0].timeoutSeconds'],
    [{ ...good, timeoutSeconds: '10' }, 'routes[0].timeoutSeconds'],
    [{ ...good, timeoutSeconds: 1e9 }, 'routes[0].timeoutSeconds'],
    [{ ...good, bodyLimitBytes: -1 }, 'routes[0].bodyLimitBytes'],
    [{ ...good, webSocket: true, methods: { POST: {} } }, 'routes[0].webSocket needs the method GET'],
    [{ ...good, headers: { 'X-A': 'a\r\nb' } }, 'must be printable ASCII'],
    ...[
      'X A',
      'Host',
      'cookie',
      'Content-Length',
      'Transfer-Encoding',
      'Connection',
      'Proxy-Authorization',
    ].map((name) => [{ ...good, headers: { [name]: 'x' } }, 'routes[0].headers cannot set']),
    [{ ...good, headers: { AUTHORIZATION: 'x' } }, 'routes[0].headers cannot set Authorization'],
    [{ ...good, rateLimit: { limit: 0, windowSeconds: 1 } }, 'routes[0].rateLimit.limit'],
    [{ ...good, ratelimit: {} }, 'routes[0]'],
    ['/things', 'routes[0]'],
  ] as readonly (readonly [unknown, string])[])('%j', (row, fault) => {
    const { faults } = read(row);
    expect(faults.join('\n')).toContain(fault);
  });

  test('all of them at once, in every row', () => {
    const { faults } = read({ ...good, target: 'x' }, { ...good, path: '/other', target: '/:x' }, good);
    expect(faults).toEqual([
      'routes[0].target must be a path, or a URL beginning with https:// or http://',
      'routes[1].target uses :x, which path does not have',
      'routes[2].path is GET of routes[0] once more',
    ]);
  });

  test('when two rows take the same, whatever their parameters are called', () => {
    const one = { ...good, path: '/things/:id', methods: { GET: {}, PUT: {} } };
    expect(read(one, { ...one, path: '/things/:name', methods: { PUT: {} } }).faults).toEqual([
      'routes[1].path is PUT of routes[0] once more',
    ]);
    expect(read(one, { ...one, methods: { DELETE: {} } }).faults).toEqual([]);
  });

  test.each([null, [], {}, { routes: [] }, { routes: {} }, { route: [good] }, 'x', 1])(
    'no table: %j',
    (json) => {
      expect(readRouteTable(json, options).faults.length).toBeGreaterThan(0);
    },
  );

  test('a path as target needs a base', () => {
    const { faults } = readRouteTable({ routes: [good] }, { ...options, base: undefined });
    expect(faults.join()).toContain('OAUTH2_API_BASE_URL, which it would be below, is not set');
  });
});

describe('API_ROUTES_FILE', () => {
  const env = {
    OAUTH2_ISSUER: 'https://login.example.com',
    OAUTH2_CLIENT_ID: 'client',
    OAUTH2_CLIENT_SECRET: 'hush-hush',
    OAUTH2_REDIRECT_URI: 'http://localhost:3000/auth/callback',
    SESSION_SECRET: 'x'.repeat(32),
  };
  const messageOf = (API_ROUTES_FILE: string) => {
    try {
      return String(loadConfig({ ...env, API_ROUTES_FILE }).routes.length);
    } catch (error) {
      return (error as Error).message;
    }
  };

  test('is the whole table, and needs no base when every target is a URL', () => {
    expect(messageOf(writeRoutesFile([{ ...good, target: 'https://api.example.com/v1' }]))).toBe('1');
  });

  test('that is missing, no JSON, or wrong is told as every other fault is', () => {
    expect(messageOf('/nowhere.json')).toContain(
      'API_ROUTES_FILE names a file that cannot be read: Error: ENOENT',
    );
    expect(messageOf(fileURLToPath(import.meta.url))).toContain('API_ROUTES_FILE is not JSON');
    expect(messageOf(writeRoutesFile([good]))).toContain(
      'API_ROUTES_FILE has a fault: routes[0].target is a path',
    );
  });

  test('has a published schema', () => {
    const published = readFileSync(new URL('../../docs/api-routes.schema.json', import.meta.url), 'utf8');
    expect(JSON.parse(published)).toEqual(JSON.parse(JSON.stringify(routeTableSchema())));
  });

  test('is absent: the two paths of the API this app grew up with', () => {
    const { routes } = loadConfig({ ...env, OAUTH2_API_BASE_URL: 'https://api.example.com' });
    expect(routes.map(({ path, targetPath, methods }) => [path, targetPath, Object.keys(methods)])).toEqual([
      ['/profile', '/api/user/profile', ['GET']],
      ['/data', '/api/user/data', ['GET', 'POST']],
    ]);
  });
});
