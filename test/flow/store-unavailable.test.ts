import type { TokenStore } from '../../src/tokens/token-store.ts';
import type { Browser, Page } from '../support/browser.ts';
import { failAtStep } from '../support/fail-at-step.ts';
import { createWorld, type World } from '../support/world.ts';

const isCallback = (url: string) => url.includes('/auth/callback?');

describe('a store that fails during a login', () => {
  let world: World;
  let browser: Browser;
  /** `name` is the method that fails. */
  type StoreFault = { name: string | undefined };
  const tokenStoreFault: StoreFault = { name: undefined };
  const sessionStoreFault: StoreFault = { name: undefined };
  beforeAll(async () => {
    world = await createWorld({
      env: { OAUTH2_SCOPES: 'openid profile read:profile read:data' },
      wrap: (deps) => ({
        tokenStore: failAtStep<TokenStore>(deps.tokenStore, tokenStoreFault),
        sessionStore: failAtStep(deps.sessionStore, sessionStoreFault),
      }),
    });
    browser = world.browser();
    await world.signIn(browser);
  });
  afterAll(() => world.close());
  afterEach(() => {
    tokenStoreFault.name = undefined;
    sessionStoreFault.name = undefined;
  });

  async function callbackFailingAt(fault: StoreFault, step: string): Promise<Page> {
    const callback = await browser.go('/auth/login', { until: isCallback });
    fault.name = step;
    return browser.step(callback.url);
  }

  test.each([
    ['destroying the old session', sessionStoreFault, 'regenerate'],
    ['storing the new tokens', tokenStoreFault, 'put'],
    ['storing the new session', sessionStoreFault, 'set'],
  ] as const)(
    'when %s fails, the callback returns 503, and the old session and its cookie stay valid',
    async (_what, fault, step) => {
      const cookie = await browser.sessionCookie();
      const response = await callbackFailingAt(fault, step);
      fault.name = undefined;
      expect(response.status).toBe(503);
      expect(response.headers['set-cookie']).toBeUndefined();
      expect(await browser.sessionCookie()).toBe(cookie);
      expect((await browser.fetch('/auth/session')).json()).toMatchObject({ authenticated: true });
    },
  );

  test('when removing the old token record fails, the new login still succeeds', async () => {
    const response = await callbackFailingAt(tokenStoreFault, 'take');
    tokenStoreFault.name = undefined;
    expect(response.status).toBe(303);
    expect((await browser.fetch('/api/profile')).status).toBe(200);
  });

  test('the tokens of an incomplete login are dropped without being revoked, which could end the next login', async () => {
    const newBrowser = world.browser();
    const page = await newBrowser.go('/auth/login');
    sessionStoreFault.name = 'set';
    await newBrowser
      .submit(page, { login: 'bob', password: 'x' }, { action: '/login' })
      .then((consent) => newBrowser.submit(consent, { decision: 'allow' }, { action: '/consent' }));
    sessionStoreFault.name = undefined;
    await world.latchkey.drain();
    expect(await world.isActive(world.issued.access.at(-1)!)).toBe(true);
    expect((await newBrowser.fetch('/auth/session')).json()).toEqual({ authenticated: false });
  });

  test('a user whose express-session data is lost stays signed in, and can refresh the tokens with the form', async () => {
    const cookie = await browser.sessionCookie();
    const id = decodeURIComponent(cookie!).slice(2).split('.')[0]!;
    await new Promise((done) => world.latchkey.deps.sessionStore.destroy(id, done));
    const profile = await browser.go('/profile');
    const refreshed = await browser.submit(profile, {}, { action: '/auth/refresh' });
    expect(refreshed.url).toBe(`${world.origin}/profile`);
    expect(await browser.sessionCookie()).toBe(cookie);
    expect((await browser.fetch('/api/profile')).status).toBe(200);
  });

  test('while the token store is unavailable, public pages work, other requests get 503, and no cookie is set', async () => {
    tokenStoreFault.name = 'get';
    for (const path of ['/', '/auth/sign-in', '/healthz', '/auth/assets/style.css']) {
      const response = await browser.step(path);
      expect(response.status).toBe(200);
      expect(response.headers['set-cookie']).toBeUndefined();
    }
    for (const path of ['/api/profile', '/auth/session', '/profile']) {
      const response = await browser.fetch(path);
      expect([path, response.status]).toEqual([path, 503]);
      expect(response.headers['retry-after']).toBe('1');
      expect(response.headers['set-cookie']).toBeUndefined();
    }
    tokenStoreFault.name = undefined;
    expect((await browser.fetch('/api/profile')).status).toBe(200);
  });
});
