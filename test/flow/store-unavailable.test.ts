import type { TokenStore } from '../../src/tokens/token-store.ts';
import type { Browser, Page } from '../support/browser.ts';
import { failAtStep } from '../support/fail-at-step.ts';
import { createWorld, type World } from '../support/world.ts';

const isCallback = (url: string) => url.includes('/auth/callback?');

describe('a store that goes away in the middle of a login', () => {
  let world: World;
  let browser: Browser;
  const token: { name: string | undefined } = { name: undefined };
  const session: { name: string | undefined } = { name: undefined };
  beforeAll(async () => {
    world = await createWorld({
      env: { OAUTH2_SCOPES: 'openid profile read:profile read:data' },
      wrap: (deps) => ({
        tokenStore: failAtStep<TokenStore>(deps.tokenStore, token),
        sessionStore: failAtStep(deps.sessionStore, session),
      }),
    });
    browser = world.browser();
    await world.signIn(browser);
  });
  afterAll(() => world.close());
  afterEach(() => {
    token.name = undefined;
    session.name = undefined;
  });

  async function callbackFailingAt(where: typeof token, step: string): Promise<Page> {
    const callback = await browser.go('/auth/login', { until: isCallback });
    where.name = step;
    return browser.step(callback.url);
  }

  test.each([
    ['the old session is destroyed', session, 'regenerate'],
    ['the new tokens are kept', token, 'put'],
    ['the new session is stored', session, 'set'],
  ] as const)(
    'when %s, the answer is 503 and the old login stands, cookie and all',
    async (_what, where, step) => {
      const cookie = await browser.cookie('latchkey');
      const answer = await callbackFailingAt(where, step);
      where.name = undefined;
      expect(answer.status).toBe(503);
      expect(answer.headers['set-cookie']).toBeUndefined();
      expect(await browser.cookie('latchkey')).toBe(cookie);
      expect((await browser.fetch('/auth/session')).json()).toMatchObject({ authenticated: true });
    },
  );

  test('when the old record cannot be removed, the new login is good all the same', async () => {
    const answer = await callbackFailingAt(token, 'take');
    token.name = undefined;
    expect(answer.status).toBe(303);
    expect((await browser.fetch('/api/profile')).status).toBe(200);
  });

  test('the tokens of a login that came to nothing are revoked', async () => {
    const stranger = world.browser();
    const page = await stranger.go('/auth/login');
    session.name = 'set';
    await stranger
      .submit(page, { login: 'bob', password: 'x' }, { action: '/login' })
      .then((consent) => stranger.submit(consent, { decision: 'allow' }, { action: '/consent' }));
    session.name = undefined;
    await world.latchkey.drain();
    expect(await world.isActive(world.issued.access.at(-1)!)).toBe(false);
    expect((await stranger.fetch('/auth/session')).json()).toEqual({ authenticated: false });
  });

  test('a session that express-session has lost stays logged in through a refresh by form', async () => {
    const cookie = await browser.cookie('latchkey');
    const id = decodeURIComponent(cookie!).slice(2).split('.')[0]!;
    await new Promise((done) => world.latchkey.deps.sessionStore.destroy(id, done));
    const profile = await browser.go('/profile');
    const renewed = await browser.submit(profile, {}, { action: '/auth/refresh' });
    expect(renewed.url).toBe(`${world.origin}/profile`);
    expect(await browser.cookie('latchkey')).toBe(cookie);
    expect((await browser.fetch('/api/profile')).status).toBe(200);
  });

  test('public pages are served while nobody can tell who is signed in, and no cookie is touched', async () => {
    token.name = 'get';
    for (const path of ['/', '/login', '/healthz', '/assets/style.css']) {
      const answer = await browser.step(path);
      expect(answer.status).toBe(200);
      expect(answer.headers['set-cookie']).toBeUndefined();
    }
    for (const path of ['/api/profile', '/auth/session', '/profile']) {
      const answer = await browser.fetch(path);
      expect([path, answer.status]).toEqual([path, 503]);
      expect(answer.headers['retry-after']).toBe('1');
      expect(answer.headers['set-cookie']).toBeUndefined();
    }
    token.name = undefined;
    expect((await browser.fetch('/api/profile')).status).toBe(200);
  });
});
