import type { Browser } from '../support/browser.ts';
import { createWorld, type World } from '../support/world.ts';

describe('a page opened as Alice', () => {
  let world: World;
  let browser: Browser;
  let tagOfAlice: string;
  const session = async () =>
    (await browser.fetch('/auth/session')).json() as { session_mark?: string; user?: { name?: string } };
  beforeEach(async () => {
    world = await createWorld({ env: { OAUTH2_SCOPES: 'openid profile read:profile read:data write:data' } });
    browser = world.browser();
    await world.signIn(browser);
    tagOfAlice = (await session()).session_mark!;
  });
  afterEach(() => world.close());

  /** As in another tab: signs out, and signs another user in, at the provider too. */
  async function switchTo(user: string) {
    await browser.fetch('/auth/logout', { method: 'POST' });
    browser.jar.removeAllCookiesSync();
    await world.signIn(browser, user);
  }
  const headers = () => ({ 'latchkey-session': tagOfAlice, accept: 'application/json' });

  test('a page opened as Alice works in her current session and in a later one', async () => {
    expect(tagOfAlice).toMatch(/^[\w-]{16}$/);
    expect((await browser.fetch('/api/data', { headers: headers() })).status).toBe(200);
    await switchTo('alice');
    expect((await session()).session_mark).toBe(tagOfAlice);
    expect((await browser.fetch('/api/data', { headers: headers() })).status).toBe(200);
    expect((await browser.fetch('/auth/refresh', { method: 'POST', headers: headers() })).status).toBe(200);
    expect(JSON.stringify(world.apiFaults.requests)).not.toContain('latchkey-session');
  });

  test('a page opened as Alice cannot act as Bob, who has since signed in from another tab', async () => {
    await switchTo('bob');
    const before = world.apiFaults.requests.length;
    const requests = [
      ['GET', '/api/data'],
      ['POST', '/api/data'],
      ['POST', '/auth/refresh'],
      ['POST', '/auth/logout'],
    ] as const;
    for (const [method, path] of requests) {
      const response = await browser.fetch(path, { method, headers: headers() });
      expect([path, response.status, (response.json() as { error: string }).error]).toEqual([
        path,
        409,
        'session_changed',
      ]);
    }
    expect(world.apiFaults.requests).toHaveLength(before);
    const form = await browser.go(`/auth/logout?session=${tagOfAlice}`, {
      method: 'POST',
      from: `${world.origin}/profile`,
    });
    expect(form.status).toBe(409);
    expect((await session()).user).toMatchObject({ name: 'Bob Cratchit' });
    expect((await session()).session_mark).not.toBe(tagOfAlice);
    expect((await browser.fetch('/api/data')).status).toBe(200); // a request without a tag belongs to no page
  });

  test('after sign-out, a page opened as Alice gets login_required, and signing out again succeeds', async () => {
    await browser.fetch('/auth/logout', { method: 'POST' });
    const response = await browser.fetch('/api/data', { headers: headers() });
    expect(response.json()).toMatchObject({ error: 'login_required' });
    const secondLogout = await browser.go(`/auth/logout?session=${tagOfAlice}`, {
      method: 'POST',
      from: `${world.origin}/profile`,
    });
    expect([secondLogout.status, new URL(secondLogout.url).pathname]).toEqual([200, '/session/end']);
  });

  test.each([
    ['an empty tag', ''],
    ['a short tag', 'x'],
    ['a tag that is a path', '../'],
    ['a tag of 5,000 characters', 'a'.repeat(5000)],
  ])('a request with %s is rejected with 409', async (_what, tag) => {
    const response = await browser.fetch('/api/data', { headers: { 'latchkey-session': tag } });
    expect(response.status).toBe(409);
  });
});

test('without a sub, a page is tied to the session instead of the user', async () => {
  const world = await createWorld({ store: 'memory', env: { OAUTH2_SCOPES: 'read:profile read:data' } });
  const tags = [];
  for (const browser of [world.browser(), world.browser()]) {
    await world.signIn(browser);
    tags.push(((await browser.fetch('/auth/session')).json() as { session_mark: string }).session_mark);
  }
  expect(new Set(tags).size).toBe(2);
  await world.close();
});
