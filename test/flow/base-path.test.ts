import { once } from 'node:events';
import { createServer, get, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import { safeReturnTo } from '../../src/login/return-url.ts';
import type { Browser, Page } from '../support/browser.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { createWorld, finishSignIn, type World } from '../support/world.ts';

const spa = 'http://localhost:5173';
let backend: Server;
let world: World;
let browser: Browser;
beforeAll(async () => {
  backend = createServer((req, res) => {
    if (req.url === '/events') res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
    else if (req.url === '/moved')
      res.writeHead(201, { location: '/things/7', link: '</things?page=2>; rel="next"' }).end();
    else res.end(JSON.stringify({ method: req.method, url: req.url }));
  });
  new WebSocketServer({ server: backend }).on('connection', (socket) => socket.send('hello'));
  backend.listen(0, '127.0.0.1');
  await once(backend, 'listening');
  const target = (path: string) => `http://127.0.0.1:${(backend.address() as AddressInfo).port}${path}`;
  const methods = { GET: {}, POST: {} };
  world = await createWorld({
    basePath: '/portal',
    backchannelLogout: 'sub',
    env: {
      CORS_ORIGINS: spa,
      OAUTH2_SCOPES: 'openid profile read:profile',
      API_ROUTES_FILE: writeRoutesFile([
        { path: '/events', target: target('/events'), methods: { GET: {} }, stream: true },
        { path: '/socket', target: target('/socket'), methods: { GET: {} }, webSocket: true },
        { path: '/secret', target: target('/secret'), methods: { GET: { allOf: ['write:data'] } } },
        { path: '/moved', target: target('/moved'), methods },
        { path: '/things/*rest', target: target('/things/*rest'), methods },
        { path: '/things', target: target('/things'), methods },
      ]),
    },
  });
});
afterAll(async () => {
  await world.close();
  backend.closeAllConnections();
  backend.close();
});
beforeEach(() => {
  browser = world.browser();
});

const form = { 'content-type': 'application/x-www-form-urlencoded' };
/** The addresses on our own origin that a page names and that are not below the base path. */
function foreignAddresses({ text }: Page): readonly string[] {
  const addresses = [...text.matchAll(/\b(?:href|src|action|url)="?([^"> ]*)/g)].map(([, each]) => each!);
  return addresses.filter((each) => each.startsWith('/') && !each.startsWith('/portal/'));
}
const session = async () => (await browser.fetch('/portal/auth/session')).json() as Record<string, unknown>;
const decode = (text: string) => text.replaceAll('&#38;', '&').replaceAll('&amp;', '&');
const signOutAtProvider = (page: Page) => {
  const xsrf = /name="xsrf" value="([^"]*)"/.exec(page.text)![1]!;
  return browser.submit(page, { logout: 'yes', xsrf }, { action: '/session/end' });
};
const findLink = ({ text }: Page, part: string) =>
  decode([...text.matchAll(/href="([^"]*)"/g)].map(([, each]) => each!).find((each) => each.includes(part))!);

test('from the first page to sign-out, every page, form, file and redirect is below the base path', async () => {
  const home = await browser.go('/portal/');
  const signInPage = await browser.go('/portal/auth/sign-in');
  const page = await finishSignIn(browser, await browser.go(findLink(home, '/auth/login')));
  expect(page.url).toBe(`${world.origin}/portal/profile`);
  const refreshed = await browser.submit(page, {}, { action: '/portal/auth/refresh' });
  expect(refreshed.text).toContain('href="/portal/auth/developer"');
  const called = await browser.submit(
    await browser.go('/portal/auth/developer'),
    { row: 'POST /things', query: 'a=1' },
    { action: '/portal/auth/console' },
  );
  expect(JSON.parse(called.text)).toEqual({ method: 'POST', url: '/things?a=1' });
  const signOutPage = await browser.go('/portal/auth/logout');
  const notFound = await browser.go('/portal/nothing/here');
  for (const each of [home, signInPage, page, refreshed, signOutPage, notFound])
    expect([each.url, foreignAddresses(each)]).toEqual([each.url, []]);
  for (const [, file] of page.text.matchAll(/(?:href|src)="([^"]*\/assets\/[^"]*)"/g))
    expect((await browser.step(file!)).status).toBe(200);
  expect(page.headers['content-security-policy']).toContain(`script-src ${world.url}/auth/assets/;`);
  const left = await signOutAtProvider(await browser.submit(page, {}, { action: '/portal/auth/logout' }));
  expect([left.url, left.status]).toEqual([`${world.url}/auth/signed-out`, 200]);
  expect(foreignAddresses(left)).toEqual([]);
  expect((await session()).authenticated).toBe(false);
});

test('the base path is a part of the names of the cookies, which have the path /', async () => {
  await world.signIn(browser);
  const cookies = (await browser.jar.getCookies(world.url)).filter(({ key }) => key.startsWith('latchkey'));
  const { port } = new URL(world.origin);
  expect(cookies.map(({ key, path }) => [key, path]).sort()).toEqual([
    [`latchkey-${port}+portal`, '/'],
    [`latchkey-${port}-login+portal`, '/'],
  ]);
});

test('a step-up and an ended session lead to a login below the base path, and back', async () => {
  const missing = (await browser.fetch('/portal/api/things')).json() as { login_url: string };
  expect(missing.login_url).toBe(`${world.url}/auth/login?return_to=%2Fportal%2Fprofile`);
  await world.signIn(browser);
  const referer = `${world.url}/orders/7`;
  const refused = await browser.fetch('/portal/api/secret', { headers: { referer } });
  const { login_url: url } = refused.json() as { login_url: string };
  expect(url).toContain(
    `${world.url}/auth/login?return_to=%2Fportal%2Forders%2F7&scope=write%3Adata&signature=`,
  );
  expect((await finishSignIn(browser, await browser.go(url))).url).toBe(referer);
  expect((await browser.fetch('/portal/api/secret')).status).toBe(200);
});

test('WebSockets and event streams work, and a logout of the provider ends them', async () => {
  await world.signIn(browser);
  const cookie = await browser.jar.getCookieString(world.origin);
  const headers = { cookie, origin: world.origin };
  const socket = new WebSocket(`${world.url.replace('http', 'ws')}/api/socket`, { headers });
  expect(String((await once(socket, 'message'))[0])).toBe('hello');
  const outside = new WebSocket(`${world.origin.replace('http', 'ws')}/api/socket`, { headers });
  expect(String((await once(outside, 'error'))[0])).toContain('404');
  const events = await fetch(`${world.url}/api/events`, { headers: { cookie } });
  const ends = [once(socket, 'close'), events.text()] as const;
  await signOutAtProvider(await browser.go(`${world.provider.issuer}/session/end`));
  expect(await ends[1]).toContain('session_ended');
  await ends[0];
  expect((await session()).authenticated).toBe(false);
});

test('addresses of the API lead back to it below the base path', async () => {
  await world.signIn(browser);
  const { headers } = await browser.fetch('/portal/api/moved');
  expect(headers.location).toBe('/portal/api/things/7');
  expect(headers.link).toContain('</portal/api/things?page=2>; rel="next"');
});

test('listed origins may call the paths below the base path', async () => {
  const preflight = (path: string) =>
    fetch(world.origin + path, {
      method: 'OPTIONS',
      headers: { origin: spa, 'access-control-request-method': 'POST' },
    });
  const allowed = await preflight('/portal/auth/session');
  expect([allowed.status, allowed.headers.get('access-control-allow-origin')]).toEqual([204, spa]);
  expect((await preflight('/auth/session')).headers.get('access-control-allow-origin')).toBeNull();
});

test.each([
  ...['/', '/profile', '/auth/login', '/auth/session', '/api/things', '/auth/assets/style.css'],
  ...['/portal2/', '/portalevil/auth/session', '/Portal/auth/session', '//portal/auth/session'],
  ...['/%70ortal/auth/session', '/portal%2fauth/session', '/x/../portal/auth/session', '/portal%00/'],
])('%s is outside the base path: 404 with the usual headers', async (path) => {
  const { hostname, port } = new URL(world.origin);
  const sent = get({ hostname, port, path }); // `fetch` would change the path
  const [response] = await once(sent, 'response');
  response.resume();
  const { 'x-request-id': id, 'content-security-policy': policy } = response.headers;
  expect({ status: response.statusCode, id, policy }).toEqual({
    status: 404,
    id: expect.any(String),
    policy: expect.stringContaining("'none'"),
  });
});

test('the base path itself leads to the home page, and health is at both places', async () => {
  const bare = await browser.step('/portal?a=1');
  expect([bare.status, bare.headers.location]).toEqual([307, `${world.url}/?a=1`]);
  for (const path of ['/healthz', '/readyz', '/portal/healthz', '/portal/readyz'])
    expect((await browser.step(path)).status).toBe(200);
  expect((await browser.go('/portal/favicon.ico')).url).toBe(`${world.url}/auth/assets/icon.svg`);
  expect((await browser.step('/portal/auth/assets')).status).toBe(404);
});

test('metrics and log lines do not contain the base path, and a proxy that removes it is named once', async () => {
  for (const _ of [1, 2]) await browser.fetch('/auth/session');
  await browser.fetch('/portal/auth/session');
  const text = await world.latchkey.deps.metrics.registry.metrics();
  expect(text).toContain('route="/auth/session"');
  expect(text).not.toContain('portal');
  const warnings = world.latchkey.logLines.filter((each) =>
    each.includes('if a proxy removes the base path'),
  );
  expect(warnings).toHaveLength(1);
});

test('a form that met an expired session is saved, and sent after the sign-in', async () => {
  await world.signIn(browser);
  await world.clock.advance(604_800);
  const rejected = await browser.step('/portal/api/things', {
    ...{ method: 'POST', from: world.url, headers: form, body: 'a=1' },
  });
  expect([rejected.status, foreignAddresses(rejected)]).toEqual([401, []]);
  const saved = await finishSignIn(browser, await browser.go(findLink(rejected, '/auth/login')));
  expect(saved.url).toMatch(/\/portal\/auth\/resume\/[\w-]{43}$/);
  expect(foreignAddresses(saved)).toEqual([]);
  const sent = await browser.submit(saved, {}, { action: '/portal/auth/resume/' });
  expect(JSON.parse(sent.text)).toEqual({ method: 'POST', url: '/things' });
});

describe('the return URL below a base path', () => {
  const url = 'https://app.example.com/portal';
  test.each([
    ['/portal/orders?a=1#b', '/orders?a=1#b'],
    ['orders', '/orders'],
    [`${url}/orders`, '/orders'],
    ['/portal/files/a%2Fb', '/files/a%2Fb'],
    ['/portal/auth/resume/a_Z-9', '/auth/resume/a_Z-9'],
    ['/portal//evil.example', '//evil.example'],
  ])('%s is allowed', (requested, expected) => {
    expect(safeReturnTo(requested, url)).toBe(url + expected);
  });

  test.each([
    ...[
      '/',
      '/orders',
      '/portal2/',
      '/portalevil',
      '/portal.evil.example/',
      '/Portal/x',
      '//evil.example/portal/',
    ],
    ...[
      '/portal/../x',
      '/portal/..%2fx',
      '/portal/%2e%2e%2fx',
      '/portal/..%5cx',
      '/portal/.%2e/x',
      '/portal\\..\\x',
    ],
    ...['/portal/a/..%2f..%2fx', '/portal/..', '/portal/auth/login', '/portal/x%2f..%2fauth/login', '../x'],
    ...[
      'https://app.example.com/x',
      'https://app.example.com.evil.example/portal/',
      'https://evil.example/portal/',
    ],
    ...['https://app.example.com@evil.example/portal/', '//portal/x', '/portal%2f..%2fx', '/%70ortal/x'],
  ])('%s is not', (requested) => {
    expect(safeReturnTo(requested, url)).toBe(`${url}/profile`);
  });

  test('other pages of the origin are allowed only if the origin is listed', () => {
    expect(safeReturnTo('/orders', url, ['https://app.example.com'])).toBe('https://app.example.com/orders');
    expect(safeReturnTo('/portal/..%2fx', url, ['https://app.example.com'])).toBe(`${url}/profile`);
  });
});
