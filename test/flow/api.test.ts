import request from 'supertest';
import { Browser } from '../support/browser.ts';
import { allow, createWorld, type World } from '../support/world.ts';

describe('requests to /api', () => {
  let world: World;
  let browser: Browser;
  beforeAll(async () => {
    world = await createWorld();
    browser = world.browser();
    await world.signIn(browser);
  });
  afterAll(() => world.close());
  beforeEach(() => world.apiFaults.set(undefined));

  test.each([404, 409, 422, 500, 503])(
    'an API response with status %i is passed through unchanged',
    async (status) => {
      const headers = { 'content-type': 'application/problem+json', 'x-api-says': 'hello' };
      world.apiFaults.set({ response: { status, headers, body: '{"title":"its own format"}' } });
      const response = await browser.fetch('/api/profile');
      expect(response.status).toBe(status);
      expect(response.text).toBe('{"title":"its own format"}');
      expect(response.headers).toMatchObject(headers);
      expect(response.headers['cache-control']).toBe('no-store');
      expect(response.headers.vary).toContain('Cookie');
    },
  );

  test('a connection that the API resets yields 502 upstream_unreachable and keeps the session', async () => {
    world.apiFaults.set({ response: 'reset' });
    const response = await browser.fetch('/api/profile');
    expect(response.status).toBe(502);
    expect(response.json()).toEqual({
      error: 'upstream_unreachable',
      message: expect.any(String),
      request_id: response.headers['x-request-id'],
    });
    const page = await browser.go('/profile');
    expect(page.status).toBe(200);
    expect(page.text).toContain('load the rest of your profile');
    world.apiFaults.set(undefined);
    expect((await browser.fetch('/api/profile')).status).toBe(200);
  });

  test('a user who opens the URL of a failing API sees an error page', async () => {
    world.apiFaults.set({ response: 'reset' });
    const page = await browser.go('/api/profile');
    expect(page.status).toBe(502);
    expect(page.headers['content-type']).toContain('text/html');
    expect(page.text).toContain('The service behind this address');
    expect(page.headers['content-security-policy']).toMatch(/style-src http\S*\/auth\/assets\//); // the policy of pages
    expect(page.text).toContain(String(page.headers['x-request-id']));
  });

  test('without a session, fetch gets 401 with a login_url, never a redirect', async () => {
    for (const path of ['/api/profile', '/api/data']) {
      const response = await request(world.origin)
        .get(path)
        .set({ 'sec-fetch-mode': 'cors', referer: `${world.origin}/?tab=2` })
        .expect(401)
        .expect('cache-control', 'no-store');
      expect(response.body).toEqual({
        error: 'login_required',
        message: expect.any(String),
        request_id: expect.any(String),
        login_url: `${world.origin}/auth/login?return_to=%2F%3Ftab%3D2`,
      });
      expect(response.headers['latchkey-error']).toBe('login_required');
      expect(response.headers['set-cookie']).toBeUndefined();
    }
  });

  test('an unlisted path gets 404, and an unlisted method gets 405 with Allow', async () => {
    for (const path of ['/api/admin', '/API/profile', '/api/Profile'])
      expect((await browser.fetch(path)).json()).toMatchObject({ error: 'not_found' });
    const response = await browser.fetch('/api/data', { method: 'DELETE' });
    expect(response.status).toBe(405);
    expect(response.headers.allow).toBe('GET, HEAD, POST, OPTIONS');
    expect(response.json()).toMatchObject({ error: 'method_not_allowed' });
  });

  test('a body over 10 MiB gets 413 before any of it reaches the API', async () => {
    const before = world.apiFaults.requests.length;
    const response = await browser.fetch('/api/data', {
      method: 'POST',
      body: 'x'.repeat(10 * 1024 * 1024 + 1),
    });
    expect(response.status).toBe(413);
    expect(response.json()).toMatchObject({ error: 'payload_too_large' });
    expect(world.apiFaults.requests).toHaveLength(before);
  });
});

describe('scopes', () => {
  test('a missing scope yields 403 with a login_url, and that login adds the scope to the session', async () => {
    const world = await createWorld({ env: { OAUTH2_SCOPES: 'read:profile read:data' } });
    const browser = world.browser();
    await world.signIn(browser);
    const post = () =>
      browser.fetch('/api/data', {
        method: 'POST',
        headers: { 'content-type': 'application/json', referer: `${world.origin}/profile` },
        body: '{"title":"Grow"}',
      });
    const rejected = await post();
    expect(rejected.status).toBe(403);
    const response = rejected.json() as { scope: string; login_url: string };
    expect(response).toMatchObject({ error: 'insufficient_scope', scope: 'write:data' });
    expect(world.apiFaults.count(/data/)).toBe(0);

    const consent = await browser.go(response.login_url);
    expect((await allow(browser, consent)).url).toBe(`${world.origin}/profile`);
    expect((await post()).status).toBe(201);
    expect((await browser.fetch('/api/data')).status).toBe(200); // the session keeps its earlier scopes
    await world.close();
  });

  test('Latchkey does not assume a scope that the user declined', async () => {
    const world = await createWorld();
    const browser = world.browser();
    let page = await browser.go('/auth/login');
    page = await browser.submit(page, { login: 'bob', password: 'x' }, { action: '/login' });
    await allow(browser, page, ['read:profile']);
    expect((await browser.fetch('/auth/session')).json()).toMatchObject({ scope: ['read:profile'] });
    expect((await browser.fetch('/api/data')).json()).toMatchObject({
      error: 'insufficient_scope',
      scope: 'read:data',
    });
    await world.close();
  });
});

describe('isolation', () => {
  test("two apps in one process do not accept each other's sessions", async () => {
    const [one, two] = await Promise.all([
      createWorld({ store: 'memory' }),
      createWorld({ store: 'memory' }),
    ]);
    const browser = one.browser();
    await one.signIn(browser);
    expect((await browser.fetch('/api/profile')).status).toBe(200);
    const sameCookies = new Browser(two.origin, browser.jar); // the cookie jar ignores ports
    expect((await sameCookies.fetch('/api/profile')).status).toBe(401);
    expect((await sameCookies.fetch('/auth/session')).json()).toEqual({ authenticated: false });
    await one.close();
    await two.close();
  });
});

describe('SESSION_COOKIE_SAMESITE=strict', () => {
  test('the callback responds with a page that redirects, because a direct redirect would arrive without the cookie', async () => {
    const world = await createWorld({ store: 'memory', env: { SESSION_COOKIE_SAMESITE: 'strict' } });
    const browser = world.browser();
    const page = await world.signIn(browser);
    expect(page.url).toBe(`${world.origin}/profile`);
    const callback = browser.exchanges.find(({ url }) => url.includes('/auth/callback?'));
    expect(callback?.response).toContain(
      `<meta http-equiv="refresh" content="0;url=${world.origin}/profile">`,
    );
    expect(page.text).toContain('Alice Liddell');
    await world.close();
  });
});

describe('GET /healthz', () => {
  test('the health check responds without a log line', async () => {
    const world = await createWorld({ store: 'memory' });
    const lines = world.latchkey.logLines.length;
    await request(world.origin).get('/healthz').expect(200, { status: 'ok' });
    expect(world.latchkey.logLines).toHaveLength(lines);
    await world.close();
  });
});
