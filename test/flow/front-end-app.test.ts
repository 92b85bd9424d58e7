import { once } from 'node:events';
import { WebSocket } from 'ws';
import { sendRequest, waitUntil } from '../hostile/support/raw-http.ts';
import { cookieNames } from '../support/browser.ts';
import { type FrontEndApp, startFrontEndApp } from '../support/front-end-app.ts';
import { createWorld, type World } from '../support/world.ts';

const page = { accept: 'text/html,*/*;q=0.8', 'sec-fetch-mode': 'navigate' };

let app: FrontEndApp;
let world: World;
beforeAll(async () => {
  app = await startFrontEndApp();
  world = await createWorld({ store: 'memory', env: { APP_URL: app.origin } });
});
afterAll(async () => {
  await world.close();
  await app.stop();
});
beforeEach(() => {
  app.requests.length = 0;
  app.respondWith(undefined);
});

const get = (path: string, headers: Readonly<Record<string, string>> = {}) =>
  sendRequest(world.origin, 'GET', path, headers);

describe('requests', () => {
  test.each([
    '/',
    '/src/main.tsx?t=1',
    '/@vite/client',
    '/@fs/a%20b/%5Bid%5D.js',
    '/profile/settings',
    '/Auth/login',
    '/x/../auth/login',
  ])('%s reaches the app as it is', async (path) => {
    expect(await get(path)).toMatchObject({ status: 200 });
    expect(app.requests.map(({ url }) => url)).toEqual([path]);
  });

  test.each(['/auth/unknown', '/auth/session', '/api/profile', '/api', '/profile', '/healthz'])(
    '%s does not',
    async (path) => {
      await get(path);
      expect(app.requests).toEqual([]);
    },
  );

  test('a signed-in user sends neither a token nor a cookie of Latchkey, but those of the app', async () => {
    const browser = world.browser();
    await browser.jar.setCookie('theme=dark', world.origin);
    expect(await world.signIn(browser)).toMatchObject({ url: `${world.origin}/`, status: 200 });
    app.requests.length = 0;
    await browser.go('/orders');
    const { session, login } = cookieNames(world.origin);
    expect(await browser.jar.getCookieString(world.origin)).toMatch(new RegExp(`${session}=.*`));
    const { headers } = app.requests[0]!;
    expect(headers.cookie).toContain('theme=dark');
    expect(headers.authorization).toBeUndefined();
    expect(JSON.stringify(headers)).not.toMatch(new RegExp(`${session}|${login}`));
    for (const token of [...world.issued.access, ...world.issued.refresh])
      expect(JSON.stringify(headers)).not.toContain(token);
  });

  test('the app learns who the client and the public origin are, and nothing that the client claims', async () => {
    const claims = {
      'x-forwarded-for': '1.2.3.4',
      'x-forwarded-host': 'evil.example',
      forwarded: 'for=1.2.3.4',
      'x-real-ip': '1.2.3.4',
      x_forwarded_for: '1.2.3.4',
      'x-forwarded-user': 'admin',
      'remote-user': 'admin',
      'x-middleware-subrequest': 'middleware',
      'latchkey-session': 'x',
    };
    await get('/', {
      ...claims,
      connection: 'x-secret, keep-alive',
      'x-secret': '1',
      'x-own': '2',
      te: 'trailers',
    });
    const { host } = new URL(world.origin);
    const { headers } = app.requests[0]!;
    expect(headers).toMatchObject({
      host,
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-host': host,
      'x-forwarded-proto': 'http',
      'x-own': '2',
    });
    expect(JSON.stringify(headers)).not.toMatch(/1\.2\.3\.4|evil|admin|x-secret|latchkey-|middleware/);
  });

  test('a form and an upload arrive', async () => {
    app.respondWith((req, res) => {
      let bytes = 0;
      req.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      req.on('end', () => res.end(`${req.headers['content-type']} ${bytes}`));
    });
    for (const size of [10, 300_000]) {
      const response = await fetch(`${world.origin}/upload`, {
        method: 'POST',
        body: Buffer.alloc(size),
        headers: { 'content-type': 'text/x' },
      });
      expect(await response.text()).toBe(`text/x ${size}`);
    }
  });

  test('a form of another site does not arrive', async () => {
    const headers = { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' };
    expect((await sendRequest(world.origin, 'POST', '/action', headers)).status).toBe(403);
    expect(app.requests).toEqual([]);
  });
});

describe('responses', () => {
  const respond = (headers: Readonly<Record<string, string | readonly string[]>>, status = 200) =>
    app.respondWith((_req, res) => {
      for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
      res.writeHead(status).end('x');
    });

  test.each([
    [() => `${app.origin}/a?b#c`, () => `${world.origin}/a?b#c`],
    [() => `//${new URL(app.origin).host}/a`, () => `${world.origin}/a`],
    [() => `${world.origin}/a`, () => `${world.origin}/a`],
    [() => '/a', () => '/a'],
    [() => 'a', () => 'a'],
    [() => 'https://other.example/a', () => 'https://other.example/a'],
  ])('a Location %# is one that the browser can use', async (sent, expected) => {
    respond({ location: sent() }, 302);
    expect((await get('/')).headers.location).toBe(expected());
  });

  test('the app sets its own cookies, and none of Latchkey', async () => {
    const { session, login } = cookieNames(world.origin);
    const stolen = [
      `${session}=x`,
      ` ${login}=x; Path=/`,
      `=${session}=x`,
      `__Host-${session}=x`,
      `__Host-Http-latchkey=x`,
      'LATCHKEY=x',
      `"${session}"=x`,
      session,
      `\t${session}=x`,
    ];
    respond({ 'set-cookie': ['a=1; Path=/', ...stolen, `b=2; Domain=localhost; HttpOnly`, 'latchkeys=3'] });
    expect((await get('/')).headers['set-cookie']).toEqual(['a=1; Path=/', 'b=2; HttpOnly', 'latchkeys=3']);
  });

  test('the app has no influence on the whole origin or on proxies', async () => {
    const dropped = [
      'strict-transport-security',
      'clear-site-data',
      'alt-svc',
      'x-accel-redirect',
      'x-sendfile',
      'nel',
      'surrogate-control',
      'server',
    ];
    respond({
      ...Object.fromEntries(dropped.map((name) => [name, 'x'])),
      'x-content-type-options': 'x',
      'x-own': '1',
      connection: 'x-hop',
      'x-hop': '1',
    });
    const { headers } = await get('/');
    expect(dropped.filter((name) => name in headers)).toEqual([]);
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-own': '1',
      'x-frame-options': 'DENY',
    });
    expect(headers['x-hop']).toBeUndefined();
  });

  test('the app can have a policy of its own; otherwise it is one with which hot reload works', async () => {
    expect((await get('/')).headers['content-security-policy']).toContain(
      "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; ",
    );
    respond({ 'content-security-policy': "default-src 'none'", 'x-frame-options': 'SAMEORIGIN' });
    expect((await get('/')).headers).toMatchObject({
      'content-security-policy': "default-src 'none'",
      'x-frame-options': 'SAMEORIGIN',
    });
  });

  test('compressed bodies, ranges, 304 and large bodies pass unchanged', async () => {
    respond({ 'content-encoding': 'br', 'cache-control': 'max-age=5', etag: '"1"', vary: 'Accept-Encoding' });
    expect((await get('/')).headers).toMatchObject({
      'content-encoding': 'br',
      'cache-control': 'max-age=5',
      etag: '"1"',
      vary: 'Accept-Encoding',
    });
    respond({ 'content-range': 'bytes 0-0/9' }, 206);
    expect((await get('/')).headers['content-range']).toBe('bytes 0-0/9');
    app.respondWith((_req, res) => res.writeHead(304).end());
    expect((await get('/')).status).toBe(304);
    const chunk = Buffer.alloc(1_048_576, 'x');
    app.respondWith((_req, res) => {
      for (let count = 0; count < 20; count += 1) res.write(chunk);
      res.end();
    });
    expect((await (await fetch(world.origin)).arrayBuffer()).byteLength).toBe(20 * chunk.length);
  });

  test('server-sent events arrive at once', async () => {
    app.respondWith(
      (_req, res) => void res.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n'),
    );
    const response = await fetch(`${world.origin}/__hmr`);
    const { value } = await response.body!.getReader().read();
    expect([response.headers.get('x-accel-buffering'), new TextDecoder().decode(value)]).toEqual([
      'no',
      'data: 1\n\n',
    ]);
    await response.body?.cancel().catch(() => undefined);
  });
});

describe('WebSockets', () => {
  const open = (path: string, headers: Readonly<Record<string, string>> = { origin: world.origin }) =>
    new WebSocket(world.origin.replace('http', 'ws') + path, path === '/ws' ? [] : ['vite-hmr'], { headers });

  test.each(['/?token=abc', '/ws'])('a hot-reload client connects to %s', async (path) => {
    const socket = open(path);
    const [message] = await once(socket, 'message');
    expect([String(message), socket.protocol]).toEqual([
      '{"type":"connected"}',
      path === '/ws' ? '' : 'vite-hmr',
    ]);
    socket.send('ping');
    expect(String((await once(socket, 'message'))[0])).toBe('ping');
    const { host } = new URL(world.origin);
    expect(app.requests[0]).toMatchObject({ url: path, headers: { host, 'x-forwarded-host': host } });
    expect(app.requests[0]?.headers.authorization).toBeUndefined();
    socket.terminate();
  });

  test.each([{ origin: 'https://evil.example' }, { origin: 'null' }])(
    'a page of another origin (%j) cannot connect',
    async (headers) => {
      const socket = open('/', headers);
      const [error] = await once(socket, 'error');
      expect([String(error), app.requests]).toEqual(['Error: Unexpected server response: 403', []]);
    },
  );

  test.each(['/auth/ws', '/api/ws', '/profile'])('%s is not a WebSocket of the app', async (path) => {
    await once(open(path), 'error');
    expect(app.requests).toEqual([]);
  });
});

describe('an app that does not work', () => {
  test('a page names the address that does not respond, and the app is used again when it is back', async () => {
    await app.stop();
    const { status, text } = await get('/orders', page);
    expect(status).toBe(502);
    expect(text).toContain(`does not respond at ${app.origin} (APP_URL)`);
    for (let count = 0; count < 12; count += 1) expect((await get('/')).status).toBe(502); // the circuit breaker opens
    expect(JSON.parse((await get('/main.js')).text)).toMatchObject({
      error: 'upstream_unreachable',
      address: app.origin,
    });
    const socket = new WebSocket(world.origin.replace('http', 'ws'), { headers: { origin: world.origin } });
    expect(String((await once(socket, 'error'))[0])).toContain('502');
    expect((await get('/auth/session')).status).toBe(200);
    await app.start();
    let last = 0;
    void (async () => {
      while (last !== 200) last = (await get('/')).status;
    })();
    await waitUntil(() => last === 200);
  });

  test('in production, the page does not name it', async () => {
    const other = await world.startAnotherInstance(0, {
      APP_URL: 'http://127.0.0.1:9',
      NODE_ENV: 'production',
      REDIS_URL: 'redis://127.0.0.1:1',
    });
    const { status, text } = await sendRequest(other.origin, 'GET', '/', page);
    expect([status, text.includes('127.0.0.1:9')]).toEqual([502, false]);
  });

  test('a page that fails does not stop the others', async () => {
    app.respondWith((req, res) =>
      res.writeHead(req.url === '/broken' ? 503 : 200, { 'retry-after': '5' }).end(),
    );
    for (let count = 0; count < 15; count += 1) await get('/broken');
    expect((await get('/')).status).toBe(200);
  });

  test('a response that breaks off does not look complete', async () => {
    app.respondWith((_req, res) => {
      res.writeHead(200, { 'content-length': '1000' }).write('x');
      setImmediate(() => res.destroy());
    });
    await expect(fetch(world.origin).then((response) => response.text())).rejects.toThrow();
  });
});
