import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { RequestHandler } from 'express';
import { WebSocket, WebSocketServer } from 'ws';
import { type CodePage, createCodePages } from '../../src/routes/code-pages.ts';
import type { CodeRoutes } from '../../src/routes/code-routes.ts';
import { type Recorder, startRecorder } from '../hostile/support/recorder.ts';
import type { Browser } from '../support/browser.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { scrape } from '../support/scrape.ts';
import { createWorld, type World } from '../support/world.ts';

/** Routes in code, beside a route table with `/orders/:id`. */
const routesTo =
  (socketOrigin: string): CodeRoutes =>
  ({ requireToken, requireAppToken, requireScope, readJson, forwardTo }) => [
    {
      path: '/orders/summary',
      methods: { GET: [requireToken, (req, res) => void res.json({ of: req.login?.user.sub })] },
    },
    { path: '/orders/maybe', methods: { GET: [(_req, _res, next) => next()] } },
    { path: '/nowhere', methods: { GET: [(_req, _res, next) => next()] } },
    {
      path: '/my/:id',
      methods: {
        GET: [requireToken, requireScope('read:data'), forwardTo('/v1/my/:id')],
        PUT: [requireToken, requireScope('admin'), forwardTo({ target: '/v1/my/:id' })],
      },
    },
    { path: '/weather', methods: { GET: [requireAppToken(), forwardTo({ target: '/v1/weather' })] } },
    {
      path: '/without-token',
      methods: { GET: [requireToken, forwardTo({ target: '/v1/open', token: 'none' })] },
    },
    {
      path: '/notes',
      methods: { POST: [requireToken, readJson, (req, res) => void res.status(201).json(req.body)] },
    },
    {
      path: '/few',
      rateLimit: { limit: 1, windowSeconds: 60 },
      methods: { GET: [requireToken, (_req, res) => void res.json({})] },
    },
    { path: '/fails', methods: { GET: [() => Promise.reject(new Error('a fault of the handler'))] } },
    {
      path: '/ticks',
      stream: true,
      methods: {
        GET: [requireToken, (_req, res) => void res.type('text/event-stream').write('data: 1\n\n')],
      },
    },
    {
      path: '/socket',
      methods: { GET: [requireToken, forwardTo({ target: `${socketOrigin}/socket`, webSocket: true })] },
    },
  ];

const pages: readonly CodePage[] = [
  { path: '/help', view: 'signed-out' },
  {
    path: '/account/:part',
    view: 'signed-out',
    requiresLogin: true,
    load: (req) => ({ user: { name: `${req.login?.user.sub} of ${req.params.part}` } }),
  },
];
const middleware: readonly RequestHandler[] = [
  (req, res, next) => {
    if (req.get('x-fail')) throw new Error('a fault of the middleware');
    res.set('X-Team', 'garden');
    next();
  },
];

let world: World;
let recorder: Recorder;
let sockets: WebSocketServer;
let browser: Browser;
beforeAll(async () => {
  recorder = await startRecorder();
  sockets = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(sockets, 'listening');
  sockets.on('connection', (socket, req) => socket.send(String(req.headers.authorization)));
  world = await createWorld({
    env: {
      OAUTH2_API_BASE_URL: recorder.url,
      OAUTH2_SCOPES: 'openid profile read:data',
      API_ROUTES_FILE: writeRoutesFile([
        { path: '/orders/:id', target: '/v1/orders/:id', methods: { GET: {}, DELETE: {} } },
      ]),
    },
    own: {
      routes: routesTo(`http://127.0.0.1:${(sockets.address() as AddressInfo).port}`),
      pages,
      middleware,
    },
  });
  browser = world.browser();
  await world.signIn(browser);
});
afterAll(async () => {
  for (const each of sockets.clients) each.terminate();
  sockets.close();
  await world.close();
  await recorder.close();
});
beforeEach(() => {
  recorder.requests.length = 0;
});

const forwardedAuthorization = () =>
  recorder.requests.map(({ headers }) => headers.find(([name]) => name === 'authorization')?.[1]);

test('a handler in code responds itself, and knows the user', async () => {
  expect((await browser.fetch('/api/orders/summary')).json()).toEqual({ of: 'alice' });
  const anonymous = await world.browser().fetch('/api/orders/summary');
  expect(anonymous.status).toBe(401);
  expect(anonymous.json()).toMatchObject({ error: 'login_required', login_url: expect.any(String) });
  expect(recorder.requests).toEqual([]);
});

test('a route in code takes requests of a wider row of the route table, which keeps all others', async () => {
  expect((await browser.fetch('/api/orders/42')).status).toBe(200);
  expect((await browser.fetch('/api/orders/summary', { method: 'DELETE' })).status).toBe(200);
  expect(recorder.requests.map(({ method, target }) => `${method} ${target}`)).toEqual([
    'GET /v1/orders/42',
    'DELETE /v1/orders/summary',
  ]);
});

test('a handler that calls next() leaves the request to the route table, or to 404', async () => {
  expect((await browser.fetch('/api/orders/maybe')).status).toBe(200);
  expect(recorder.requests.map(({ target }) => target)).toEqual(['/v1/orders/maybe']);
  const nowhere = await browser.fetch('/api/nowhere');
  expect(nowhere.json()).toMatchObject({ error: 'not_found' });
});

test('forwardTo sends the token of the guard before it, and its parameters', async () => {
  expect((await browser.fetch('/api/my/a%2Bb?page=2')).status).toBe(200);
  expect(recorder.requests[0]?.target).toBe('/v1/my/a%2Bb?page=2');
  await world.browser().fetch('/api/weather');
  await browser.fetch('/api/without-token');
  const [users, apps, none] = forwardedAuthorization();
  expect(users).toBe(`Bearer ${world.issued.access[0]}`);
  expect(apps).toMatch(/^Bearer /);
  expect(apps).not.toBe(users);
  expect(none).toBeUndefined();
});

test('other methods get 405 with Allow, OPTIONS gets 204, HEAD gets what GET would get', async () => {
  const rejected = await browser.fetch('/api/my/1', { method: 'DELETE' });
  expect([rejected.status, rejected.headers.allow]).toEqual([405, 'GET, HEAD, PUT, OPTIONS']);
  const options = await browser.fetch('/api/my/1', { method: 'OPTIONS' });
  expect([options.status, options.headers.allow]).toEqual([204, 'GET, HEAD, PUT, OPTIONS']);
  const both = await browser.fetch('/api/orders/summary', { method: 'POST' });
  expect([both.status, both.headers.allow]).toEqual([405, 'GET, HEAD, DELETE, OPTIONS']);
  const head = await browser.fetch('/api/orders/summary', { method: 'HEAD' });
  expect([head.status, head.text]).toEqual([200, '']);
});

test('scopes, the rate limit, cross-site requests and foreign hosts are refused as by the route table', async () => {
  const scope = await browser.fetch('/api/my/1', { method: 'PUT' });
  expect(scope.json()).toMatchObject({ error: 'insufficient_scope', scope: 'admin' });
  expect((await browser.fetch('/api/few')).status).toBe(200);
  expect((await browser.fetch('/api/few')).json()).toMatchObject({ error: 'too_many_requests' });
  const crossSite = await browser.fetch('/api/orders/summary', {
    headers: { 'sec-fetch-site': 'cross-site' },
  });
  expect(crossSite.json()).toMatchObject({ error: 'cross_site_request' });
  const foreign = await browser.fetch('/api/weather', { headers: { host: 'evil.example' } });
  expect(foreign.json()).toMatchObject({ error: 'misdirected_request' });
  expect(recorder.requests).toEqual([]);
});

test('readJson reads a body, and rejects one that is not JSON or too long', async () => {
  const post = (body: string) =>
    browser.fetch('/api/notes', { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  const created = await post('{"text":"hello"}');
  expect([created.status, created.json()]).toEqual([201, { text: 'hello' }]);
  expect((await post('{"text":')).json()).toMatchObject({ error: 'invalid_request' });
  expect((await post(JSON.stringify('x'.repeat(300_000)))).json()).toMatchObject({
    error: 'payload_too_large',
  });
});

test('a handler that fails gets the error response of Latchkey, and a line in the log', async () => {
  expect((await browser.fetch('/api/fails')).json()).toMatchObject({ error: 'internal_error' });
  expect(world.latchkey.logLines.some((line) => line.includes('a fault of the handler'))).toBe(true);
});

test('routes in code are in the console, except for streams and WebSockets, and have a label in the metrics', async () => {
  const { text } = await browser.go('/auth/developer');
  for (const row of ['GET /orders/summary', 'GET /my/:id', 'PUT /my/:id', 'POST /notes'])
    expect(text).toContain(`value="${row}"`);
  for (const path of ['/ticks', '/socket']) expect(text).not.toContain(`value="GET ${path}"`);
  await browser.fetch('/api/my/1');
  const series = 'latchkey_http_requests_total{route="/api/my/:id",method="GET",status="2xx"}';
  expect((await scrape(world.latchkey)).get(series)).toBeGreaterThan(0);
});

test('streams and WebSockets of routes in code end with the session', async () => {
  const user = world.browser();
  await world.signIn(user, 'bob');
  const cookie = await user.jar.getCookieString(world.origin);
  const socket = new WebSocket(`${world.origin.replace('http', 'ws')}/api/socket`, {
    headers: { cookie, origin: world.origin },
  });
  const [message] = await once(socket, 'message');
  expect(String(message)).toBe(`Bearer ${world.issued.access.at(-1)}`);
  const [ticks] = (await once(
    http.get(`${world.origin}/api/ticks`, { headers: { cookie }, agent: false }),
    'response',
  )) as [http.IncomingMessage];
  await once(ticks, 'data');
  const ended = Promise.all([
    once(socket, 'close'),
    new Promise((resolve) => ticks.on('error', resolve).on('close', resolve)),
  ]);
  await user.submit(await user.go('/profile'), {}, { action: '/auth/logout', until: () => true });
  await ended;
  await expect(
    once(
      new WebSocket(`${world.origin.replace('http', 'ws')}/api/orders/summary`, {
        headers: { origin: world.origin },
      }),
      'error',
    ),
  ).resolves.toEqual([expect.objectContaining({ message: 'Unexpected server response: 404' })]);
});

test('a page in code knows the user, has the headers of pages, and rejects other methods', async () => {
  const help = await world.browser().go('/help');
  expect(help.status).toBe(200);
  expect(help.headers['content-security-policy']).toContain('style-src');
  expect(help.headers['cache-control']).toBe('no-store');
  expect(help.text).not.toContain('>AL</span>'); // the initials of the user
  expect((await browser.go('/help')).text).toContain('>AL</span>');
  expect((await browser.fetch('/help', { method: 'PUT' })).status).toBe(405);
});

test('a page in code that requires a login sends others to the sign-in page, and loads what it shows', async () => {
  expect((await browser.go('/account/orders')).text).toContain('>AO</span>');
  const anonymous = await world.browser().step('/account/orders?x=1');
  expect(anonymous.status).toBe(303);
  expect(anonymous.headers.location).toMatch(/\?return_to=%2Faccount%2Forders%3Fx%3D1$/);
});

test.each(['/api/help', '/auth/help', '/auth', 'help'])('a page in code cannot have the path %s', (path) => {
  expect(() => createCodePages([{ path, view: 'help' }], world.latchkey as never)).toThrow(
    `the page "${path}": path must begin with /, and not with /api or /auth`,
  );
});

test('middleware in code sees every request, and its failures get the error response', async () => {
  for (const path of ['/', '/api/orders/summary', '/nowhere'])
    expect((await browser.fetch(path)).headers['x-team']).toBe('garden');
  const failed = await browser.fetch('/', { headers: { 'x-fail': '1' } });
  expect(failed.json()).toMatchObject({ error: 'internal_error' });
});
