import { readRecord, readSession } from '../hostile/support/logged-in.ts';
import type { Browser, Page } from '../support/browser.ts';
import { allow, createWorld, finishSignIn, type World } from '../support/world.ts';

interface ErrorBody {
  readonly error: string;
  readonly scope?: string;
  readonly acr_values?: string;
  readonly max_age?: number;
  readonly login_url?: string;
  readonly declined?: boolean;
}

const isCallback = (url: string) => url.includes('/auth/callback?');
const linkOn = (page: Page, text: string) =>
  new RegExp(`href="([^"]*)">${text}<`)
    .exec(page.text)?.[1]
    ?.replaceAll('&#38;', '&')
    .replaceAll('&amp;', '&');

let world: World;
let browser: Browser;
beforeAll(async () => {
  world = await createWorld({ env: { OAUTH2_SCOPES: 'openid profile read:data' } });
});
afterAll(() => world.close());
beforeEach(async () => {
  world.apiFaults.set(undefined);
  browser = world.browser();
  await world.signIn(browser);
});

const call = async (path: string, options = {}) => {
  const response = await browser.fetch(path, {
    headers: { referer: `${world.origin}/?tab=2`, 'content-type': 'application/json' },
    ...options,
  });
  return { status: response.status, text: response.text, ...(response.json() as ErrorBody) };
};
const post = () => call('/api/data', { method: 'POST', body: '{"title":"Grow"}' });
const challenge = (status: number, parameters: string) =>
  world.apiFaults.set({
    path: /profile/,
    response: {
      status,
      headers: { 'www-authenticate': `Bearer realm="api", ${parameters}` },
      body: '{"own":1}',
    },
  });

describe('a missing scope', () => {
  test('a scope the API requires is granted by one more login, in addition to the existing scopes', async () => {
    const error = await call('/api/profile'); // only the API knows this requirement
    expect(error).toMatchObject({ status: 403, error: 'insufficient_scope', scope: 'read:profile' });
    expect(error).not.toHaveProperty('declined');
    const back = await allow(browser, await browser.go(error.login_url!));
    expect(back.url).toBe(`${world.origin}/?tab=2`);
    expect((await call('/api/profile')).status).toBe(200);
    expect((await call('/api/data')).status).toBe(200);

    const first = await post(); // the next login requests both scopes
    expect(first).toMatchObject({ status: 403, scope: 'write:data' });
    await allow(browser, await browser.go(first.login_url!));
    expect((await browser.fetch('/auth/session')).json()).toMatchObject({
      scope: ['openid', 'profile', 'read:data', 'read:profile', 'write:data'],
      requested_scope: ['openid', 'profile', 'read:data', 'read:profile', 'write:data'],
    });
  });

  test('declining a scope does not cause a login loop, and the user can still grant it later', async () => {
    const error = await post();
    const consent = await browser.go(error.login_url!);
    expect((await allow(browser, consent, [])).url).toBe(`${world.origin}/?tab=2`);
    expect((await browser.fetch('/auth/session')).json()).toMatchObject({
      scope: ['openid', 'profile', 'read:data'],
      requested_scope: ['openid', 'profile', 'read:data', 'write:data'],
    });

    const repeated = await post();
    expect(repeated).toMatchObject({
      status: 403,
      error: 'insufficient_scope',
      scope: 'write:data',
      declined: true,
    });
    expect(repeated).not.toHaveProperty('login_url');

    const page = await browser.step('/api/data', { method: 'POST', from: `${world.origin}/`, body: 'a=1' });
    expect(page.status).toBe(403);
    expect(page.text).toContain('You haven&#39;t allowed this so far');
    await allow(browser, await browser.go(linkOn(page, 'Continue with [^<]*')!), ['write:data']);
    expect((await post()).status).toBe(201);
  });

  test('no login is triggered when the token already has the scope that the API requires', async () => {
    challenge(403, 'error="insufficient_scope", scope="read:data"');
    const error = await call('/api/profile');
    expect(error).toMatchObject({ status: 403, scope: 'read:data', declined: true });
    expect(error).not.toHaveProperty('login_url');
  });

  test.each([
    ['an invalid_token challenge', 401, 'error="invalid_token"'],
    ['a malformed challenge', 403, 'error="insufficient_scope'],
    ['a scope challenge and status 500', 500, 'error="insufficient_scope", scope="x"'],
  ])('an API response with %s passes through unchanged', async (_what, status, parameters) => {
    challenge(status, parameters);
    const response = await call('/api/profile');
    expect([response.status, response.text]).toEqual([status, '{"own":1}']);
  });
});

describe('a stronger or more recent login (RFC 9470)', () => {
  const needsGold = 'error="insufficient_user_authentication", acr_values="urn:gold silver", max_age="0"';

  test('a step-up challenge from the API becomes a JSON error whose login_url makes the user authenticate again', async () => {
    challenge(401, needsGold);
    const grants = world.grants.length;
    const error = await call('/api/profile');
    expect(world.grants).toHaveLength(grants); // no refresh: it would not make the login stronger
    expect(error).toMatchObject({
      status: 401,
      error: 'insufficient_user_authentication',
      acr_values: 'urn:gold silver',
      max_age: 0,
    });
    const parameters = new URL((await browser.step(error.login_url!)).headers.location!).searchParams;
    expect([parameters.get('acr_values'), parameters.get('max_age')]).toEqual(['urn:gold silver', '0']);

    const atProvider = await browser.go(error.login_url!);
    expect(atProvider.text).toContain('name="password"'); // although the user has a session at the provider
    expect((await finishSignIn(browser, atProvider)).url).toBe(`${world.origin}/?tab=2`);

    const repeated = await call('/api/profile');
    expect(repeated).toMatchObject({
      status: 401,
      acr_values: 'urn:gold silver',
      max_age: 0,
      declined: true,
    });
    expect(repeated).not.toHaveProperty('login_url');
    await world.clock.advance(31);
    expect(await call('/api/profile')).toHaveProperty('login_url');
    world.apiFaults.set(undefined);
  });

  test('a step-up login keeps scopes that were added by an earlier login', async () => {
    await world.signIn(browser, 'alice', '/auth/login?scope=write:data');
    challenge(401, 'error="insufficient_user_authentication", max_age="3600"');
    const { login_url } = await call('/api/profile');
    await finishSignIn(browser, await browser.go(login_url!));
    expect((await browser.fetch('/auth/session')).json()).toMatchObject({
      scope: expect.arrayContaining(['write:data']),
    });
  });

  test('login fails when the provider ignores max_age', async () => {
    const authorizationUrl = new URL((await browser.step('/auth/login?max_age=5')).headers.location!);
    const cookie = await browser.sessionCookie();
    authorizationUrl.searchParams.delete('max_age');
    const withoutMaxAge = await browser.go(authorizationUrl.href);
    expect([withoutMaxAge.status, new URL(withoutMaxAge.url).pathname]).toEqual([400, '/auth/callback']);
    expect(withoutMaxAge.text).toContain('Sign-in failed');
    expect(await browser.sessionCookie()).toBe(cookie); // the existing session continues
  });

  test('login fails when the auth_time of the ID token is older than max_age', async () => {
    const session = (await browser.jar.getCookies(world.provider.issuer)).find(
      ({ key }) => key === '_session',
    )!;
    const atProvider = (await world.provider.provider.Session.find(session.value))!;
    atProvider.loginTs = (atProvider.loginTs ?? 0) - 1_000;
    await atProvider.save(3_600);

    const authorizationUrl = new URL((await browser.step('/auth/login?max_age=100')).headers.location!);
    authorizationUrl.searchParams.set('max_age', '2000');
    expect((await browser.go(authorizationUrl.href)).status).toBe(400);
    const longerMaxAge = new URL((await browser.step('/auth/login?max_age=2000')).headers.location!);
    expect((await browser.go(longerMaxAge.href)).url).toBe(`${world.origin}/profile`);
  });

  test.each([
    ['a negative max_age', 'max_age=-1'],
    ['a repeated max_age', 'max_age=1&max_age=2'],
    ['acr_values with line breaks', 'acr_values=a%0d%0aB'],
    ['acr_values that are too long', `acr_values=${'a'.repeat(301)}`],
  ])('Latchkey does not pass malformed parameters to the provider: %s', async (_what, query) => {
    const parameters = new URL((await browser.step(`/auth/login?${query}`)).headers.location!).searchParams;
    expect([parameters.get('acr_values'), parameters.get('max_age')]).toEqual([null, null]);
  });
});

describe('other data in the session', () => {
  const sessionData = async (): Promise<Record<string, unknown>> => {
    const { id } = await readSession(browser);
    return new Promise((resolve, reject) => {
      world.latchkey.deps.sessionStore.get(id, (error, data) =>
        error ? reject(error) : resolve({ ...data }),
      );
    });
  };
  beforeEach(async () => {
    const { id } = await readSession(browser);
    const data = { ...(await sessionData()), startedAt: 1, draft: 'Dear Queen' };
    await new Promise((done) => {
      world.latchkey.deps.sessionStore.set(id, data as never, done);
    });
  });
  const signInAsBob = async () => {
    for (const cookie of await browser.jar.getCookies(world.origin))
      if (cookie.key.startsWith('_'))
        await browser.jar.store.removeCookie('localhost', cookie.path!, cookie.key);
    await world.signIn(browser, 'bob', '/auth/login?scope=write:data');
  };

  test('session data is kept when the same user signs in for another scope', async () => {
    const before = await readSession(browser);
    await world.signIn(browser, 'alice', '/auth/login?scope=write:data');
    expect((await readSession(browser)).id).not.toBe(before.id);
    expect(await sessionData()).toMatchObject({ draft: 'Dear Queen' });
    expect((await sessionData()).startedAt).toBeGreaterThan(1);
  });

  test('session data is discarded when another user signs in with the same browser', async () => {
    await signInAsBob();
    expect((await browser.fetch('/auth/session')).json()).toMatchObject({ user: { sub: 'bob' } });
    expect(await sessionData()).not.toHaveProperty('draft');
  });

  test('session data is discarded when the user signs in after their session has ended', async () => {
    const { id } = await readSession(browser);
    await world.latchkey.deps.tokenStore.take(id, { kind: 'signed_out' });
    await world.signIn(browser, 'alice', '/auth/login?scope=write:data');
    expect(await sessionData()).not.toHaveProperty('draft');
  });

  test('session data is discarded when the provider does not identify the user', async () => {
    const anonymous = await createWorld({ env: { OAUTH2_SCOPES: 'read:data' } });
    const [previousWorld, previousBrowser] = [world, browser];
    try {
      [world, browser] = [anonymous, anonymous.browser()];
      await world.signIn(browser);
      const { id } = await readSession(browser);
      expect((await readRecord(world, id))?.user.sub).toBeUndefined();
      const data = { ...(await sessionData()), draft: 'Dear Queen' };
      await new Promise((done) => {
        world.latchkey.deps.sessionStore.set(id, data as never, done);
      });
      await browser
        .go('/auth/login?scope=read:data', { until: isCallback })
        .then(({ url }) => browser.go(url));
      expect(await sessionData()).not.toHaveProperty('draft');
    } finally {
      [world, browser] = [previousWorld, previousBrowser];
      await anonymous.close();
    }
  });
});
