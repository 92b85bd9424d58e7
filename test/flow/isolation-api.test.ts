import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Browser } from '../support/browser.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { createWorld, type World } from '../support/world.ts';

/** An API with one path that works, and some that do not. */
function createApi(received: string[]): Server {
  return createServer((req, res) => {
    const path = (req.url ?? '').split('?')[0]!;
    received.push(`${req.method} ${path}`);
    if (path === '/slow') return;
    if (path === '/reset') return void req.socket.destroy();
    req.resume();
    if (path === '/report') res.writeHead(503, { 'content-type': 'text/plain' }).end('switched off');
    else res.end('ok');
  });
}

async function listen(server: Server, port = 0): Promise<number> {
  await new Promise<void>((resolve) => {
    server.listen(port, '127.0.0.1', resolve);
  });
  return (server.address() as AddressInfo).port;
}

describe.each([
  ['', 'openid'],
  [', whose subject identifier is unknown', ''],
])('what one user makes an API do%s', (_what, openid) => {
  const received: string[] = [];
  let server: Server;
  let port: number;
  let world: World;
  let alice: Browser;
  let bob: Browser;
  beforeEach(async () => {
    received.length = 0;
    server = createApi(received);
    port = await listen(server);
    const paths = ['/report', '/slow', '/reset', '/orders'];
    const methods = { GET: {}, POST: {} };
    const routes = paths.map((path) => ({ path, target: path, methods, timeoutSeconds: 0.5 }));
    const open = paths.map((path) => ({ path: `/open${path}`, target: path, methods, token: 'none' }));
    world = await createWorld({
      store: 'memory',
      env: {
        OAUTH2_API_BASE_URL: `http://127.0.0.1:${port}`,
        OAUTH2_SCOPES: `${openid} read:profile`,
        API_ROUTES_FILE: writeRoutesFile([...routes, ...open]),
        TRUST_PROXY: '1',
      },
    });
    [alice, bob] = [world.browser(), world.browser()];
    await world.signIn(alice, 'alice');
    await world.signIn(bob, 'bob');
  });
  afterEach(async () => {
    server.closeAllConnections();
    server.close();
    await world.close();
  });

  const statusFor = async (browser: Browser, path: string, method = 'GET') =>
    (await browser.fetch(`/api${path}`, { method })).status;

  test('an endpoint that always returns 503 closes no other endpoint of its host, and its own response arrives each time', async () => {
    for (let call = 0; call < 12; call += 1) {
      const response = await alice.fetch('/api/report');
      expect([response.status, response.text]).toEqual([503, 'switched off']);
    }
    expect(await statusFor(bob, '/orders')).toBe(200);
    expect(await statusFor(bob, '/orders', 'POST')).toBe(200);
    const response = await bob.fetch('/api/report');
    expect([response.status, response.text]).toEqual([503, 'switched off']);
  });

  test.each([
    ['does not answer', '/slow', 504],
    ['resets the connection', '/reset', 502],
  ])(
    'twelve calls at once of an endpoint that %s close neither it nor another one for others',
    async (_, path, status) => {
      const calls = Array.from({ length: 12 }, () => statusFor(alice, path));
      expect(await Promise.all(calls)).toEqual(Array(12).fill(status));
      expect(await statusFor(bob, '/orders')).toBe(200);
      const before = received.length;
      expect(await statusFor(bob, path)).toBe(status);
      expect(received.length).toBeGreaterThan(before);
    },
  );

  test('eight sessions of one user close nothing', async () => {
    for (let session = 0; session < 8; session += 1) {
      const browser = world.browser();
      await world.signIn(browser, 'alice');
      expect((await browser.fetch('/api/report')).text).toBe('switched off');
    }
    expect((await bob.fetch('/api/report')).text).toBe('switched off');
  });

  test('a stranger who calls a failing public route closes nothing, and ten close only that route', async () => {
    const call = async (path: string, address: string) => {
      const headers = { 'x-forwarded-for': address };
      const response = await fetch(`${world.origin}/api/open${path}`, { headers });
      return [response.status, await response.text()] as const;
    };
    for (let each = 0; each < 20; each += 1)
      expect(await call('/report', '10.0.0.1')).toEqual([503, 'switched off']);
    for (let each = 2; each <= 10; each += 1)
      expect(await call('/report', `10.0.0.${each}`)).toEqual([503, 'switched off']);
    expect((await call('/report', '10.0.0.99'))[1]).toContain('temporarily_unavailable');
    expect(await call('/orders', '10.0.0.99')).toEqual([200, 'ok']);
    expect((await bob.fetch('/api/report')).text).toBe('switched off');
  });

  test('a host that refuses connections is left alone after ten calls, and served soon after it is back', async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    for (let call = 0; call < 10; call += 1) expect(await statusFor(alice, '/orders', 'POST')).toBe(502);
    const response = await bob.fetch('/api/orders');
    expect([response.status, response.headers['retry-after']]).toEqual([503, '1']);
    expect(world.latchkey.logLines.join('')).toContain(
      'upstream circuit breaker is open: no connection to http',
    );
    await listen(server, port);
    const backAt = Date.now();
    while ((await statusFor(bob, '/orders')) !== 200) await delay(50);
    expect(Date.now() - backAt).toBeLessThan(5_000);
    expect(await statusFor(alice, '/orders')).toBe(200);
  });
});
