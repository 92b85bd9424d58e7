import { Browser } from '../support/browser.ts';
import { allow, createWorld, type World } from '../support/world.ts';

describe('calling the API', () => {
  let world: World;
  let browser: Browser;
  beforeAll(async () => {
    world = await createWorld();
    browser = world.browser();
    await world.signIn(browser);
  });
  afterAll(() => world.close());
  beforeEach(() => world.apiFaults.set(undefined));

  test.each([404, 409, 422, 500, 503])('an answer %i of the API passes as it is', async (status) => {
    const headers = { 'content-type': 'application/problem+json', 'x-api-says': 'hello' };
    world.apiFaults.set({ response: { status, headers, body: '{"title":"its own words"}' } });
    const answer = await browser.fetch('/api/profile');
    expect(answer.status).toBe(status);
    expect(answer.text).toBe('{"title":"its own words"}');
    expect(answer.headers).toMatchObject(headers);
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(answer.headers.vary).toContain('Cookie');
  });

  test('an API that hangs up is 502 upstream_unreachable, and the login stands', async () => {
    world.apiFaults.set({ response: 'reset' });
    const answer = await browser.fetch('/api/profile');
    expect(answer.status).toBe(502);
    expect(answer.json()).toEqual({
      error: 'upstream_unreachable',
      message: expect.any(String),
      request_id: answer.headers['x-request-id'],
    });
    const page = await browser.go('/profile');
    expect(page.status).toBe(200);
    expect(page.text).toContain('More about you cannot be shown');
    world.apiFaults.set(undefined);
    expect((await browser.fetch('/api/profile')).status).toBe(200);
  });

  test('a person who opens an API address that fails sees a page, a script gets JSON', async () => {
    world.apiFaults.set({ response: 'reset' });
    const page = await browser.go('/api/profile');
    expect(page.status).toBe(502);
    expect(page.headers['content-type']).toContain('text/html');
    expect(page.text).toContain('The service cannot be reached');
    expect(page.headers['content-security-policy']).toContain("style-src 'self'"); // not what data is given
    expect(page.text).toContain(String(page.headers['x-request-id']));
  });

  test('without a login a script gets 401 with a way to sign in, never a redirect', async () => {
    const stranger = world.browser();
    for (const path of ['/api/profile', '/api/data']) {
      const answer = await stranger.fetch(path, { headers: { referer: `${world.origin}/?tab=2` } });
      expect(answer.status).toBe(401);
      expect(answer.json()).toEqual({
        error: 'login_required',
        message: expect.any(String),
        request_id: expect.any(String),
        login_url: `${world.origin}/auth/login?return_to=%2F%3Ftab%3D2`,
      });
      expect(answer.headers['set-cookie']).toBeUndefined();
      expect(answer.headers['cache-control']).toBe('no-store');
    }
  });

  test('a path that is not listed is 404, a method that is not listed 405 with Allow', async () => {
    for (const path of ['/api/admin', '/API/profile', '/api/Profile'])
      expect((await browser.fetch(path)).json()).toMatchObject({ error: 'not_found' });
    const answer = await browser.fetch('/api/data', { method: 'DELETE' });
    expect(answer.status).toBe(405);
    expect(answer.headers.allow).toBe('GET, HEAD, POST, OPTIONS');
    expect(answer.json()).toMatchObject({ error: 'method_not_allowed' });
  });

  test('a body that is too large is 413 before anything of it is sent on', async () => {
    const before = world.apiFaults.requests.length;
    const answer = await browser.fetch('/api/data', {
      method: 'POST',
      body: 'x'.repeat(10 * 1024 * 1024 + 1),
    });
    expect(answer.status).toBe(413);
    expect(answer.json()).toMatchObject({ error: 'payload_too_large' });
    expect(world.apiFaults.requests).toHaveLength(before);
  });
});

describe('scopes', () => {
  test('what was not granted is 403 with a login that asks for it, and that login is enough', async () => {
    const world = await createWorld({ env: { OAUTH2_SCOPES: 'read:profile read:data' } });
    const browser = world.browser();
    await world.signIn(browser);
    const post = () =>
      browser.fetch('/api/data', {
        method: 'POST',
        headers: { 'content-type': 'application/json', referer: `${world.origin}/profile` },
        body: '{"title":"Grow"}',
      });
    const refused = await post();
    expect(refused.status).toBe(403);
    const answer = refused.json() as { scope: string; login_url: string };
    expect(answer).toMatchObject({ error: 'insufficient_scope', scope: 'write:data' });
    expect(world.apiFaults.count(/data/)).toBe(0);

    const consent = await browser.go(answer.login_url);
    expect((await allow(browser, consent)).url).toBe(`${world.origin}/profile`);
    expect((await post()).status).toBe(201);
    expect((await browser.fetch('/api/data')).status).toBe(200); // what was held before is still held
    await world.close();
  });

  test('what the person did not grant is not taken for granted', async () => {
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

describe('two apps in one process', () => {
  test('do not know each other', async () => {
    const [one, two] = await Promise.all([
      createWorld({ store: 'memory' }),
      createWorld({ store: 'memory' }),
    ]);
    const browser = one.browser();
    await one.signIn(browser);
    expect((await browser.fetch('/api/profile')).status).toBe(200);
    const sameCookies = new Browser(two.origin, browser.jar); // the jar does not tell ports apart
    expect((await sameCookies.fetch('/api/profile')).status).toBe(401);
    expect((await sameCookies.fetch('/auth/session')).json()).toEqual({ authenticated: false });
    await one.close();
    await two.close();
  });
});

describe('strict cookies', () => {
  test('the callback answers with a page that leads on, as a redirect would arrive without the cookie', async () => {
    const world = await createWorld({ store: 'memory', env: { SESSION_COOKIE_SAMESITE: 'strict' } });
    const browser = world.browser();
    const page = await world.signIn(browser);
    expect(page.url).toContain('/auth/callback?');
    expect(page.text).toContain(`<meta http-equiv="refresh" content="0;url=${world.origin}/profile">`);
    expect((await browser.go('/profile')).text).toContain('Alice Liddell');
    await world.close();
  });
});

describe('the health check', () => {
  test('answers without asking a store, and without a log line', async () => {
    const world = await createWorld({ store: 'memory' });
    const lines = world.latchkey.logLines.length;
    const answer = await world.browser().fetch('/healthz');
    expect(answer.status).toBe(200);
    expect(answer.json()).toEqual({ status: 'ok' });
    expect(world.latchkey.logLines).toHaveLength(lines);
    await world.close();
  });
});
