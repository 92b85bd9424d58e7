import type { RequestHandler } from 'express';
import { checkOwnRoutes, OwnRoutesError } from '../../src/config/reading/own-route-checks.ts';
import { readRouteTable } from '../../src/config/route-table.ts';
import { type CodeRoutes, readCodeRoutes } from '../../src/routes/code-routes.ts';

const route = (path: string, ...methods: readonly string[]) => ({
  path,
  methods: Object.fromEntries((methods.length > 0 ? methods : ['GET']).map((each) => [each, {}])),
});

test.each([
  ['/orders/:id', '/orders/:id'],
  ['/orders/:id', '/orders/:number'],
  ['/orders/:id', '/orders/new'],
  ['/orders/:id', '/:kind/new'],
  ['/files/*rest', '/files/:name'],
  ['/files/*rest', '/files/*path'],
  ['/files/:a/*rest', '/files/x/:b'],
])('a route %s in code conflicts with a row %s, because both match some requests', (own, row) => {
  expect(checkOwnRoutes([route(own)], [route('/other'), route(row)])).toEqual([
    `the route "${own}" conflicts with routes[1] of the route table, "${row}": both match some requests with GET. Change one of the paths, or remove GET from one of them`,
  ]);
});

test.each([
  ['/orders/new', '/orders/:id'],
  ['/orders/new', '/orders/*rest'],
  ['/orders/:id', '/orders/*rest'],
  ['/orders', '/orders/*rest'],
  ['/orders', '/orders/:id'],
  ['/orders/:id', '/orders/:id/lines'],
  ['/files/:name/a', '/files/:name/b'],
])('a route %s in code and a row %s do not conflict: the narrower one comes first', (own, row) => {
  expect(checkOwnRoutes([route(own)], [route(row)])).toEqual([]);
});

test('routes with other methods do not conflict, but GET includes HEAD', () => {
  expect(checkOwnRoutes([route('/a', 'POST')], [route('/a', 'GET', 'PUT')])).toEqual([]);
  expect(checkOwnRoutes([route('/a', 'HEAD')], [route('/a', 'GET')])).toEqual([
    expect.stringContaining('with HEAD'),
  ]);
});

test('a route that is listed after one that takes all of its requests is refused', () => {
  const [wide, narrow] = [route('/orders/:id', 'GET', 'POST'), route('/orders/new', 'POST')];
  expect(checkOwnRoutes([narrow, wide], [])).toEqual([]);
  expect(checkOwnRoutes([wide, narrow], [])).toEqual([
    'the route "/orders/new" gets no request with POST: "/orders/:id" is listed before it',
  ]);
});

const options = {
  base: new URL('https://api.example.com/base'),
  allowHttp: () => false,
  tokenRefusedStatuses: [401],
};
const pass: RequestHandler = (_req, _res, next) => next();
const guards = {
  requireToken: pass,
  requireAppToken: () => pass,
  requireUserOrAppToken: () => pass,
  requireClaim: () => pass,
  limitBody: () => pass,
};
const read = (define: CodeRoutes) => {
  const rows = [{ path: '/orders/:id', target: '/orders/:id', methods: { GET: {} } }];
  const { routes } = readRouteTable({ routes: rows }, options);
  return readCodeRoutes(define, guards, { routes, routeOptions: options });
};

test('routes in code get the checks of the route table, and every problem is named at once', () => {
  const define: CodeRoutes = ({ forwardTo }) => [
    { path: '/a', methods: { GET: [forwardTo({ target: '/v1/:id' })] } },
    { path: '/b', methods: { GET: [forwardTo({ target: 'http://api.example.com/v1' })] } },
    { path: 'c', methods: { GET: [pass] } },
    { path: '/d', methods: { GET: [] } },
    { path: '/e', methods: {} },
    { path: '/f', methods: { POST: [pass] }, webSocket: true },
    { path: '/orders/:number', methods: { GET: [pass] } },
    { path: '/g', methods: { GET: [forwardTo({ target: '/v1', headers: { Host: 'x' } })] } },
  ];
  expect(() => read(define)).toThrow(
    new OwnRoutesError([
      'the route "/a": target uses :id, which is not in path',
      'the route "/b": target must be https, unless its host is this machine or OAUTH2_ALLOW_HTTP is true',
      'the route "c": path must be a path under /api, such as /things, /things/:id or /files/*rest',
      'the route "/d": methods.GET has no handler',
      'the route "/e": methods must name at least one method',
      'the route "/f": webSocket requires GET in methods',
      'the route "/g": headers cannot set "Host"',
      'the route "/orders/:number" conflicts with routes[0] of the route table, "/orders/:id": both match some requests with GET. Change one of the paths, or remove GET from one of them',
    ]),
  );
});

test('forwardTo takes the members of a row, with the same defaults', () => {
  const [own] = read(({ requireToken, forwardTo }) => [
    {
      path: '/things/:id',
      rateLimit: { limit: 3, windowSeconds: 60 },
      methods: { GET: [requireToken, forwardTo({ target: '/v1/:id?v=2', idleSeconds: 9, stream: true })] },
    },
  ]);
  const forwarded = own?.methods[0]?.[1][1];
  expect(forwarded).toMatchObject({
    forwardTo: {
      path: '/things/:id',
      origin: 'https://api.example.com',
      targetPath: '/base/v1/:id',
      targetQuery: 'v=2',
      ...{ token: 'user', timeoutMs: 10_000, idleMs: 9_000, bodyLimitBytes: 10_485_760, stream: true },
    },
  });
  expect(own?.server).toMatchObject({ stream: true, rateLimit: { limit: 3, windowSeconds: 60 } });
});
