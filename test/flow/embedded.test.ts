import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import compression from 'compression';
import express from 'express';
import session from 'express-session';
import request from 'supertest';
import { WebSocket, WebSocketServer } from 'ws';
import { createLatchkey } from '../../src/embedded/create-latchkey.ts';
import type { TestProviderHandle } from '../../src/testing/api.ts';
import { startTestProvider } from '../../src/testing/start-test-provider.ts';
import { closers, startApi, startHostApp } from '../support/host-app.ts';

test('an app with sessions, body parsers and headers of its own gains login, pages, endpoints and an API', async () => {
  const { origin, signIn, lines } = await startHostApp((app, latchkey) => {
    app.use((req, res, next) => {
      res.set({ 'Content-Security-Policy': "default-src 'self'", 'Access-Control-Allow-Origin': '*' });
      res.locals.user = 'of the host';
      Object.assign(req, { login: () => 'of passport', log: 'of the host', id: 'host-id' });
      next();
    });
    app.use(session({ secret: 'host', resave: false, saveUninitialized: true, name: 'host' }));
    app.use(latchkey.router);
    app.use(express.json());
    app.get('/', async (req, res) => {
      res.json({ user: (await latchkey.user(req)) ?? null, host: Object(req).log });
    });
    app.get('/page', latchkey.requireLogin, (req, res) => {
      res.send(`${Object(req).login()} ${req.session.id.length > 0}`);
    });
    app.post(
      '/orders/:id',
      latchkey.requireToken,
      latchkey.requireScope('openid'),
      latchkey.forwardTo('/v2/:id'),
    );
    app.post('/own', latchkey.requireToken, (req, res) => {
      res.json(req.body);
    });
    app.get('/admin', latchkey.requireToken, latchkey.requireScope('admin'), (_req, res) => {
      res.send('admin');
    });
    app.get('/combined', async (req, res) => {
      res.json(await (await latchkey.fetch(req, '/things?a=1')).json());
    });
    app.use(latchkey.handleErrors);
    app.use((_req, res) => {
      res.status(404).send('the 404 of the host');
    });
  });
  const cookie = await signIn({ sub: 'alice', claims: { name: 'Alice' } });
  const get = (path: string, headers = {}) =>
    fetch(origin + path, { redirect: 'manual', headers: { Cookie: cookie, ...headers } });

  expect(await (await get('/')).json()).toEqual({
    user: {
      sub: 'alice',
      claims: { sub: 'alice', name: 'Alice' },
      scopes: expect.arrayContaining(['openid']),
    },
    host: 'of the host',
  });
  expect(await (await get('/', { Cookie: '' })).json()).toMatchObject({ user: null });
  const page = await get('/page');
  expect(await page.text()).toBe('of passport true');
  expect(page.headers.get('cache-control')).toBe('private, no-store');
  const anonymous = await request(origin).get('/page?a=1').set('Accept', 'text/html'); // fetch says that it is a script
  expect(anonymous.status).toBe(303);
  expect(anonymous.headers.location).toBe(`${origin}/auth/login?return_to=%2Fpage%3Fa%3D1`);
  expect((await get('/page', { Cookie: '' })).status).toBe(401);
  const proxied = await get('/api/profile');
  expect(await proxied.json()).toMatchObject({ sub: 'alice', url: expect.stringContaining('profile') });
  expect(proxied.headers.get('content-security-policy')).toContain('sandbox');
  expect(proxied.headers.get('access-control-allow-origin')).toBeNull();
  const missing = await get('/api/../auth/nothing');
  expect([missing.status, await missing.json()]).toEqual([
    404,
    expect.objectContaining({ error: 'not_found' }),
  ]);
  expect(await (await get('/elsewhere')).text()).toBe('the 404 of the host');
  expect(await (await get('/combined')).json()).toMatchObject({ sub: 'alice', url: '/things?a=1' });
  const combined = await get('/combined', { Cookie: '' });
  expect([combined.status, await combined.json()]).toEqual([
    401,
    expect.objectContaining({ error: 'login_required' }),
  ]);
  expect((await get('/admin')).status).toBe(403);

  const post = (path: string, headers = {}) =>
    fetch(origin + path, { method: 'POST', body: '{"a":1}', headers: { Cookie: cookie, ...headers } });
  expect(
    (await post('/own', { 'Sec-Fetch-Site': 'cross-site', 'Content-Type': 'application/json' })).status,
  ).toBe(403);
  expect(await (await post('/own', { 'Content-Type': 'application/json' })).json()).toEqual({ a: 1 });
  expect(await (await post('/orders/7')).json()).toMatchObject({ url: '/v2/7', body: '{"a":1}' });
  const consumed = await post('/orders/7', { 'Content-Type': 'application/json' });
  expect(consumed.status).toBe(500);
  expect(JSON.stringify(lines.filter(({ level }) => level === 'error'))).toContain('before express.json()');
  expect(
    lines.filter(
      ({ message, fields }) => message === 'request completed' && Object(fields).path === '/api/profile',
    ),
  ).toHaveLength(1);
});

test('fetch sends the token only where it may, refreshes it after a 401, and repeats what can be repeated', async () => {
  const { origin, signIn, api, provider, lines } = await startHostApp((app, latchkey) => {
    app.use(latchkey.router);
    app.post('/call', express.json(), async (req, res) => {
      const { url, body, stream, method } = req.body;
      const init = stream
        ? { method, body: new Blob([body]).stream(), duplex: 'half' as const }
        : { method, body };
      try {
        const response = await latchkey.fetch(req, url, init);
        res.json({ status: response.status, body: await response.text() });
      } catch (error) {
        res.json({ error: Object(error).message });
      }
    });
  });
  const cookie = await signIn();
  async function call(body: object, headers = {}) {
    const response = await fetch(`${origin}/call`, {
      method: 'POST',
      headers: { Cookie: cookie, 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
    return response.json();
  }
  for (const url of [
    'http://169.254.169.254/latest',
    '//evil.example/x',
    '/\\evil.example',
    'file:///etc/passwd',
    `${api.url}@evil.example/`,
  ])
    expect(await call({ url })).toMatchObject({
      error: expect.stringMatching(/not sent to|credentials|Invalid URL|fetchOrigins/),
    });
  for (const site of [{ 'Sec-Fetch-Site': 'cross-site' }, { Origin: 'https://evil.example' }]) {
    api.requests.length = 0;
    expect(await call({ url: '/forged', method: 'POST', body: 'x' }, site)).toMatchObject({
      error: expect.stringMatching(/cross_site_request|another site/i),
    });
    expect(api.requests).toEqual([]);
  }
  const other = await startApi(provider);
  api.app.locals.movedTo = `${other.url}/stolen`;
  expect(await call({ url: '/moved' })).toMatchObject({ status: 307 });
  expect(other.requests).toEqual([]);
  api.app.locals.movedTo = '/arrived';
  expect(await call({ url: '/moved' })).toMatchObject({
    status: 200,
    body: expect.stringContaining('/arrived'),
  });

  provider.provider.expireAccessTokens();
  api.requests.length = 0;
  const repeated = await call({ url: '/again', method: 'POST', body: 'x' });
  expect(repeated).toMatchObject({ status: 200, body: expect.stringContaining('"body":"x"') });
  expect(api.requests).toEqual(['POST /again token', 'POST /again token']);
  expect(provider.provider.counts.refreshes).toBe(1);

  provider.provider.expireAccessTokens(); // the token has just been replaced
  api.requests.length = 0;
  expect(await call({ url: '/in-cooldown', method: 'POST', body: 'x' })).toMatchObject({ status: 401 });
  expect(api.requests).toEqual(['POST /in-cooldown token']);
  expect(provider.provider.counts.refreshes).toBe(1);
  expect(lines.filter(({ level }) => level === 'error')).toEqual([]);
});

test('WebSockets: own handshakes are handled, those of the host reach its own listener', async () => {
  const { server, origin, latchkey } = await startHostApp((app, own) => {
    app.use(own.router);
  });
  const chat = new WebSocketServer({ server, path: '/chat' });
  closers.push(() => chat.close());
  chat.on('connection', (socket) => socket.send('hello'));
  latchkey.attach(server);
  const url = origin.replace('http', 'ws');
  const greeting = await new Promise((resolve, reject) => {
    const socket = new WebSocket(`${url}/chat`);
    socket.on('message', (data) => {
      resolve(String(data));
      socket.close();
    });
    socket.on('error', reject);
  });
  expect(greeting).toBe('hello');
  const status = await new Promise((resolve) => {
    new WebSocket(`${url}/api/none`)
      .on('unexpected-response', (_req, res) => resolve(res.statusCode))
      .on('error', () => {});
  });
  expect(status).toBe(404);
});

test('it is mounted where the redirect URI says, and says so when it is not', async () => {
  const { origin, signIn, lines } = await startHostApp(
    (app, latchkey) => {
      app.use('/portal', latchkey.router);
      app.use('/wrong', latchkey.router);
      app.get('/auth/login', (_req, res) => void res.send('of the host'));
      app.get('/orders', latchkey.requireToken, (_req, res) => void res.send('orders'));
    },
    {},
    '/portal',
  );
  const cookie = await signIn();
  const get = (path: string) => fetch(origin + path, { headers: { Cookie: cookie } });
  expect(await (await get('/portal/api/profile')).json()).toMatchObject({ sub: 'test-user' });
  expect(await (await get('/auth/login')).text()).toBe('of the host');
  expect((await get('/portal/other')).status).toBe(404);
  expect((await get('/wrong/auth/login')).status).toBe(500);
  expect(JSON.stringify(lines)).toContain("app.use('/portal', latchkey.router)");
  // The page of an error on a route outside the base path leads back to it.
  const navigation = { Accept: 'text/html', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document' };
  const { text } = await request(origin).get('/orders').set(navigation);
  const orders = new URLSearchParams({ return_to: `${origin}/orders` });
  expect(text).toContain(`/portal/auth/login?${orders}"`);
  expect(await (await get(`/portal/auth/sign-in?${orders}`)).text()).toBe('orders'); // signed in already
});

test('a router above the base path leaves the paths of the host alone, and warns once of a proxy that removes the base path', async () => {
  const { origin, signIn, lines } = await startHostApp(
    (app, latchkey) => {
      app.use(latchkey.router);
      app.get('/api/of-the-host', (_req, res) => void res.send('of the host'));
    },
    {},
    '/portal',
  );
  expect(await (await fetch(`${origin}/api/of-the-host`)).text()).toBe('of the host');
  expect(lines.filter(({ level }) => level === 'warn')).toEqual([]);
  for (const path of ['/auth/login?return_to=/', '/auth/sign-in'])
    expect((await fetch(origin + path)).status).toBe(404);
  const message = expect.stringContaining('if a proxy removes the base path');
  const fields = { basePath: '/portal', path: '/auth/login' };
  expect(lines.filter(({ level }) => level === 'warn')).toEqual([{ level: 'warn', message, fields }]);
  const own = await fetch(`${origin}/portal/api/profile`, { headers: { Cookie: await signIn() } });
  expect(await own.json()).toMatchObject({ sub: 'test-user' });
});

test('a guard that fails after the app has responded changes nothing, and is logged', async () => {
  const { origin, signIn, lines } = await startHostApp((app, latchkey) => {
    app.use(latchkey.router);
    const respondEarly: express.RequestHandler = (_req, res, next) => {
      next();
      res.json({ isEarly: true });
    };
    app.get('/late', respondEarly, latchkey.requireToken, (_req, res) => void res.send('never'));
    app.get('/late-page', respondEarly, latchkey.requireLogin, (_req, res) => void res.send('never'));
  });
  const cookie = await signIn();
  const sameOrigin = { Cookie: cookie, 'Sec-Fetch-Site': 'same-origin' };
  await fetch(`${origin}/auth/logout`, { method: 'POST', headers: sameOrigin, redirect: 'manual' });
  for (const path of ['/late', '/late-page'])
    expect(await (await fetch(origin + path, { headers: { Cookie: cookie } })).json()).toEqual({
      isEarly: true,
    });
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; await delay(10))
    if (lines.filter(({ message }) => message.includes('had begun to respond')).length === 2) return;
  throw new Error('the failures were not logged');
});

test('attached twice, a server still responds to upgrades that nobody wants', async () => {
  const { server, origin } = await startHostApp((app, latchkey) => {
    app.use(latchkey.router);
    app.get('/other', (_req, res) => void res.send('no WebSocket here'));
  });
  const { settings } = (await startTestProviderAt(origin)).provider;
  const second = createLatchkey({ settings: { ...settings, OAUTH2_API_BASE_URL: origin } });
  closers.push(second.close);
  second.attach(server);
  second.attach(server);
  const socket = new WebSocket(`${origin.replace('http', 'ws')}/other`);
  const [, response] = await once(socket, 'unexpected-response');
  expect(response.statusCode).toBe(200);
  response.destroy();
});

async function startTestProviderAt(origin: string): Promise<TestProviderHandle> {
  const provider = await startTestProvider({ redirectUri: `${origin}/auth/callback` });
  closers.push(provider.close);
  return provider;
}

test('users sign in at the same time, also on a server that does not listen yet or any more', async () => {
  const { origin, server, app, provider } = await startHostApp((own, latchkey) => {
    own.use(latchkey.router);
  });
  const subs = ['alice', 'bob', 'carol'];
  const other = createServer(app);
  const signInAll = () => Promise.all(subs.map((sub) => provider.signIn(other, { sub })));
  for (const cookie of await signInAll())
    expect((await fetch(`${origin}/api/profile`, { headers: { cookie } })).status).toBe(200);
  expect(other.listening).toBe(false);
  server.close();
  server.closeAllConnections();
  await expect(provider.signIn(server, { sub: 'dave' })).resolves.toContain('latchkey');
  await expect(provider.signIn(createServer())).rejects.toThrow('has no request listener');
});

test('the test provider responds to malformed requests with 404', async () => {
  const { provider, close } = await startTestProvider();
  closers.push(close);
  expect((await fetch(`${provider.issuer}//`)).status).toBe(404);
});

test('options that are not valid are named as they were written', () => {
  const create = (options: object) => () => createLatchkey(options);
  expect(create({ SESSION_SECRET: 'x' })).toThrow('write { settings: { SESSION_SECRET: … } }');
  expect(create({ settings: { OAUTH2_CLIENTID: 'x' } })).toThrow(
    'OAUTH2_CLIENTID is not a setting; did you mean OAUTH2_CLIENT_ID?',
  );
  expect(create({ settings: { PORT: 3000 } })).toThrow('PORT has no effect here');
  for (const name of ['APP_DIR', 'APP_URL', 'APP_REQUIRES_LOGIN'] as const)
    expect(create({ settings: Object({ [name]: 'https://app.example.com' }) })).toThrow(
      `${name} is not available here: your app serves its own pages`,
    );
  expect(create({ settings: { OAUTH2_CLIENT_ID: {} } })).toThrow('OAUTH2_CLIENT_ID must be a string');
  expect(create({ settings: JSON.parse('{"__proto__":{"REDIS_URL":"redis://evil"}}') })).toThrow(
    '__proto__ is not a setting',
  );
  expect(create({ settings: {} })).toThrow('SESSION_SECRET is missing');
  expect(create({ settings: {}, fetchOrigins: ['https://api.example.com/v1'] })).toThrow(
    'fetchOrigins must be origins',
  );
});

test('addresses in the responses of an API become those of routes of the host', async () => {
  const { origin, signIn, api, latchkey } = await startHostApp(
    (app, own) => {
      app.use(own.router);
      const shop = express.Router({ mergeParams: true });
      shop.use(own.requireToken);
      shop.post('/orders', own.forwardTo('/v2/orders'));
      shop.put('/orders/:id/cancel', own.forwardTo('/v2/orders/:id/cancel'));
      app.use('/shop/:name', shop);
      app.all('/files/*rest', own.requireToken);
      app.use('/files', own.forwardTo('/v2/files'));
      app.get('/jobs/:id', own.requireToken, own.forwardTo({ target: '/v2/jobs/:id', path: '/jobs/:id' }));
    },
    {},
    '/portal',
  );
  const cookie = await signIn();
  async function locationOf(method: string, path: string, location: string): Promise<string | null> {
    api.locations.push(location);
    const response = await fetch(origin + path, { method, redirect: 'manual', headers: { cookie } });
    return response.headers.get('location');
  }
  expect(await locationOf('POST', '/shop/a%20b/orders', '/v2/orders/7?a=1')).toBe('/shop/a%20b/orders/7?a=1');
  expect(await locationOf('POST', '/shop/a/orders/', `${api.url}/v2/orders`)).toBe('/shop/a/orders');
  expect(await locationOf('PUT', '/shop/a/orders/7/cancel', '/v2/orders/7/cancel/1')).toBe(
    '/shop/a/orders/7/cancel/1',
  );
  expect(await locationOf('POST', '/shop/a/orders', '/v2/jobs/9')).toBe('/jobs/9');
  expect(await locationOf('GET', '/jobs/9', '/v2/jobs/10')).toBe('/jobs/10');
  expect(await locationOf('POST', '/files/upload', '/v2/files/7')).toBe('/files/7'); // mounted by `use`, after a route
  expect(await locationOf('GET', '/jobs/9', '/api/user/profile')).toBe('/portal/api/profile');
  for (const address of ['/elsewhere', 'https://other.example/v2/jobs/9', '//other.example/v2/jobs/9'])
    expect(await locationOf('GET', '/jobs/9', address)).toBe(address);
  const metrics = await latchkey.metrics();
  expect(metrics).toContain(`route="/jobs/:id",method="GET",status="3xx"`);
  expect(metrics).toContain(`route="${api.url}/v2/orders",method="POST",status="3xx"`);
  expect(() => latchkey.forwardTo({ target: '/v2/jobs/:id', path: 'jobs/:id' })).toThrow('forwardTo: path');
  expect(() => latchkey.forwardTo({ target: '/v2/jobs/:id', path: '/jobs' })).toThrow(
    ':id, which is not in path',
  );
});

test('a forwarded page is reached from the provider after the login; an endpoint is not', async () => {
  const { origin, signIn } = await startHostApp((app, own) => {
    app.use(own.router);
    app.get('/report', own.requireLogin, own.forwardTo('/v2/report'));
    app.get('/data', own.requireToken, own.forwardTo('/v2/data'));
  });
  const fromProvider = {
    Cookie: await signIn(),
    ...{ Accept: 'text/html', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'document' },
    'Sec-Fetch-Site': 'cross-site',
  };
  expect((await request(origin).get('/report').set(fromProvider)).status).toBe(200);
  expect((await request(origin).get('/data').set(fromProvider)).status).toBe(403);
  const asScript = { ...fromProvider, 'Sec-Fetch-Mode': 'no-cors', 'Sec-Fetch-Dest': 'image' };
  expect((await request(origin).get('/report').set(asScript)).status).toBe(403);
});

test('of two instances in one app, each responds to its own errors', async () => {
  const { origin, latchkey, provider, api } = await startHostApp((app, own) => {
    app.use(own.router);
  });
  const { settings } = provider.provider;
  const portal = createLatchkey({
    settings: {
      ...settings,
      ...{ OAUTH2_REDIRECT_URI: `${origin}/portal/auth/callback`, OAUTH2_API_BASE_URL: api.url },
    },
    logger: { debug() {}, info() {}, warn() {}, error() {} },
  });
  closers.push(portal.close);
  const app = express();
  for (const [path, each] of Object.entries({ '/first': latchkey, '/second': portal }))
    app.get(path, async (req, res) => void res.json(await (await each.fetch(req, '/')).json()));
  app.use(latchkey.handleErrors, portal.handleErrors);
  const errorOf = async (path: string) => (await request(app).get(path)).body;
  expect(await errorOf('/first')).toMatchObject({
    error: 'login_required',
    login_url: expect.stringContaining(`${origin}/auth/login`),
  });
  expect(await errorOf('/second')).toMatchObject({
    error: 'login_required',
    login_url: expect.stringContaining(`${origin}/portal/auth/login`),
  });
});

test('events and streams pass at once through compression() of the host', async () => {
  const { origin, signIn, api } = await startHostApp((app, own) => {
    app.use(compression({ threshold: 0 }));
    app.use(own.router);
    app.get('/events', own.requireToken, own.forwardTo('/events'));
    app.get('/lines', own.requireToken, own.forwardTo({ target: '/lines', stream: true }));
    app.get('/text', own.requireToken, own.forwardTo('/v2/text'));
  });
  const continued: (() => void)[] = [];
  for (const [path, type] of [
    ['/events', 'text/event-stream'],
    ['/lines', 'text/plain'],
  ])
    api.handlers.set(path!, (_req, res) => {
      res.writeHead(200, { 'Content-Type': type, 'Cache-Control': 'public' });
      res.write('data: 1\n\n');
      continued.push(() => res.end('data: 2\n\n'));
    });
  const headers = { Cookie: await signIn(), 'Accept-Encoding': 'gzip' };
  for (const path of ['/events', '/lines']) {
    const response = await fetch(origin + path, { headers });
    const reader = response.body!.getReader();
    expect(Buffer.from((await reader.read()).value!).toString()).toBe('data: 1\n\n');
    continued.shift()!();
    expect(response.headers.get('cache-control')).toBe('no-store, no-transform');
    await reader.cancel();
  }
  expect((await fetch(`${origin}/text`, { headers })).headers.get('content-encoding')).toBe('gzip');
});
