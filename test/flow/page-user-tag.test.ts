import type { Browser } from '../support/browser.ts';
import { createWorld, type World } from '../support/world.ts';

describe('a page that was opened as Alice', () => {
  let world: World;
  let browser: Browser;
  let markOfAlice: string;
  const session = async () =>
    (await browser.fetch('/auth/session')).json() as { session_mark?: string; user?: { name?: string } };
  beforeEach(async () => {
    world = await createWorld({ env: { OAUTH2_SCOPES: 'openid profile read:profile read:data write:data' } });
    browser = world.browser();
    await world.signIn(browser);
    markOfAlice = (await session()).session_mark!;
  });
  afterEach(() => world.close());

  /** The other tab: somebody else signs in here, at the provider too. */
  async function switchTo(person: string) {
    await browser.fetch('/auth/logout', { method: 'POST' });
    browser.jar.removeAllCookiesSync();
    await world.signIn(browser, person);
  }
  const headers = () => ({ 'latchkey-session': markOfAlice, accept: 'application/json' });

  test('acts as Alice while she is signed in, also in a later session of hers', async () => {
    expect(markOfAlice).toMatch(/^[\w-]{16}$/);
    expect((await browser.fetch('/api/data', { headers: headers() })).status).toBe(200);
    await switchTo('alice');
    expect((await session()).session_mark).toBe(markOfAlice);
    expect((await browser.fetch('/api/data', { headers: headers() })).status).toBe(200);
    expect((await browser.fetch('/auth/refresh', { method: 'POST', headers: headers() })).status).toBe(200);
    expect(JSON.stringify(world.apiFaults.requests)).not.toContain('latchkey-session');
  });

  test('cannot act as Bob, who signed in in another tab, whatever it does', async () => {
    await switchTo('bob');
    const before = world.apiFaults.requests.length;
    const requests = [
      ['GET', '/api/data'],
      ['POST', '/api/data'],
      ['POST', '/auth/refresh'],
      ['POST', '/auth/logout'],
    ] as const;
    for (const [method, path] of requests) {
      const answer = await browser.fetch(path, { method, headers: headers() });
      expect([path, answer.status, (answer.json() as { error: string }).error]).toEqual([
        path,
        409,
        'session_changed',
      ]);
    }
    expect(world.apiFaults.requests).toHaveLength(before);
    const form = await browser.go(`/auth/logout?session=${markOfAlice}`, {
      method: 'POST',
      from: `${world.origin}/profile`,
    });
    expect(form.status).toBe(409);
    expect((await session()).user).toMatchObject({ name: 'Bob Cratchit' });
    expect((await session()).session_mark).not.toBe(markOfAlice);
    expect((await browser.fetch('/api/data')).status).toBe(200); // who sends no mark is nobody's page
  });

  test('is told to sign in once nobody is, and signing out is then no error', async () => {
    await browser.fetch('/auth/logout', { method: 'POST' });
    const answer = await browser.fetch('/api/data', { headers: headers() });
    expect(answer.json()).toMatchObject({ error: 'login_required' });
    const again = await browser.go(`/auth/logout?session=${markOfAlice}`, {
      method: 'POST',
      from: `${world.origin}/profile`,
    });
    expect([again.status, again.url]).toEqual([200, `${world.origin}/signed-out`]);
  });

  test.each(['', 'x', '../', 'a'.repeat(5000)])(
    'with a mark that is none of ours (%#) does nothing',
    async (mark) => {
      const answer = await browser.fetch('/api/data', { headers: { 'latchkey-session': mark } });
      expect(answer.status).toBe(409);
    },
  );
});

test('where the provider names nobody, a page is of its session only', async () => {
  const world = await createWorld({ store: 'memory', env: { OAUTH2_SCOPES: 'read:profile read:data' } });
  const marks = [];
  for (const browser of [world.browser(), world.browser()]) {
    await world.signIn(browser);
    marks.push(((await browser.fetch('/auth/session')).json() as { session_mark: string }).session_mark);
  }
  expect(new Set(marks).size).toBe(2);
  await world.close();
});
