import { readRecord, readSession } from '../hostile/support/logged-in.ts';
import type { Browser, Page } from '../support/browser.ts';
import { allow, createWorld, finishSignIn, type World } from '../support/world.ts';

interface Answer {
  readonly error: string;
  readonly scope?: string;
  readonly acr_values?: string;
  readonly max_age?: number;
  readonly login_url?: string;
  readonly declined?: boolean;
}

const isCallback = (url: string) => url.includes('/auth/callback?');
const linkOn = (page: Page, words: string) =>
  new RegExp(`href="([^"]*)">${words}<`)
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

const call = async (path: string, sending = {}) => {
  const answer = await browser.fetch(path, {
    headers: { referer: `${world.origin}/?tab=2`, 'content-type': 'application/json' },
    ...sending,
  });
  return { status: answer.status, text: answer.text, ...(answer.json() as Answer) };
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

describe('a permission that is missing', () => {
  test('is named by the API, and one login later it is there, beside what was held before', async () => {
    const refused = await call('/api/profile'); // this one only the API knows
    expect(refused).toMatchObject({ status: 403, error: 'insufficient_scope', scope: 'read:profile' });
    expect(refused).not.toHaveProperty('declined');
    const back = await allow(browser, await browser.go(refused.login_url!));
    expect(back.url).toBe(`${world.origin}/?tab=2`);
    expect((await call('/api/profile')).status).toBe(200);
    expect((await call('/api/data')).status).toBe(200);

    const first = await post(); // and the next one asks for both
    expect(first).toMatchObject({ status: 403, scope: 'write:data' });
    await allow(browser, await browser.go(first.login_url!));
    expect((await browser.fetch('/auth/session')).json()).toMatchObject({
      scope: ['openid', 'profile', 'read:data', 'read:profile', 'write:data'],
      requested_scope: ['openid', 'profile', 'read:data', 'read:profile', 'write:data'],
    });
  });

  test('is not asked for in a circle when the person leaves it out; they can still change their mind', async () => {
    const refused = await post();
    const consent = await browser.go(refused.login_url!);
    expect((await allow(browser, consent, [])).url).toBe(`${world.origin}/?tab=2`);
    expect((await browser.fetch('/auth/session')).json()).toMatchObject({
      scope: ['openid', 'profile', 'read:data'],
      requested_scope: ['openid', 'profile', 'read:data', 'write:data'],
    });

    const again = await post();
    expect(again).toMatchObject({
      status: 403,
      error: 'insufficient_scope',
      scope: 'write:data',
      declined: true,
    });
    expect(again).not.toHaveProperty('login_url');

    const page = await browser.step('/api/data', { method: 'POST', from: `${world.origin}/`, body: 'a=1' });
    expect(page.status).toBe(403);
    expect(page.text).toContain('your provider did not give it');
    await allow(browser, await browser.go(linkOn(page, 'Ask once more')!), ['write:data']);
    expect((await post()).status).toBe(201);
  });

  test('that the token has, by all we know, is no reason to sign in', async () => {
    challenge(403, 'error="insufficient_scope", scope="read:data"');
    const refused = await call('/api/profile');
    expect(refused).toMatchObject({ status: 403, scope: 'read:data', declined: true });
    expect(refused).not.toHaveProperty('login_url');
  });

  test.each([
    ['another challenge', 401, 'error="invalid_token"'],
    ['a challenge that is broken', 403, 'error="insufficient_scope'],
    ['a challenge beside a failure', 500, 'error="insufficient_scope", scope="x"'],
  ])('is not read out of %s, which passes as it is', async (_what, status, parameters) => {
    challenge(status, parameters);
    const answer = await call('/api/profile');
    expect([answer.status, answer.text]).toEqual([status, '{"own":1}']);
  });
});

describe('a stronger or younger login (RFC 9470)', () => {
  const needsGold = 'error="insufficient_user_authentication", acr_values="urn:gold silver", max_age="0"';

  test('is asked for in a machine-readable answer, and at the provider, where the person proves themselves', async () => {
    challenge(401, needsGold);
    const grants = world.grants.length;
    const refused = await call('/api/profile');
    expect(world.grants).toHaveLength(grants); // a renewed token would not be a stronger one
    expect(refused).toMatchObject({
      status: 401,
      error: 'insufficient_user_authentication',
      acr_values: 'urn:gold silver',
      max_age: 0,
    });
    const asked = new URL((await browser.step(refused.login_url!)).headers.location!).searchParams;
    expect([asked.get('acr_values'), asked.get('max_age')]).toEqual(['urn:gold silver', '0']);

    const atProvider = await browser.go(refused.login_url!);
    expect(atProvider.text).toContain('name="password"'); // although the person has a session there
    expect((await finishSignIn(browser, atProvider)).url).toBe(`${world.origin}/?tab=2`);

    const again = await call('/api/profile');
    expect(again).toMatchObject({ status: 401, acr_values: 'urn:gold silver', max_age: 0, declined: true });
    expect(again).not.toHaveProperty('login_url');
    world.clock.advance(31);
    expect(await call('/api/profile')).toHaveProperty('login_url');
    world.apiFaults.set(undefined);
  });

  test('keeps the permissions that were gained on the way', async () => {
    await world.signIn(browser, 'alice', '/auth/login?scope=write:data');
    challenge(401, 'error="insufficient_user_authentication", max_age="3600"');
    const { login_url } = await call('/api/profile');
    await finishSignIn(browser, await browser.go(login_url!));
    expect((await browser.fetch('/auth/session')).json()).toMatchObject({
      scope: expect.arrayContaining(['write:data']),
    });
  });

  test('is no login when the provider passes over the age that was asked for', async () => {
    const asked = new URL((await browser.step('/auth/login?max_age=5')).headers.location!);
    const cookie = await browser.cookie('latchkey');
    asked.searchParams.delete('max_age');
    const untold = await browser.go(asked.href);
    expect([untold.status, new URL(untold.url).pathname]).toEqual([400, '/auth/callback']);
    expect(untold.text).toContain('Signing in did not work');
    expect(await browser.cookie('latchkey')).toBe(cookie); // the login before stands
  });

  test('is no login when the provider says itself that the person signed in too long ago', async () => {
    const session = (await browser.jar.getCookies(world.provider.issuer)).find(
      ({ key }) => key === '_session',
    )!;
    const atProvider = (await world.provider.provider.Session.find(session.value))!;
    atProvider.loginTs = (atProvider.loginTs ?? 0) - 1_000;
    await atProvider.save(3_600);

    const asked = new URL((await browser.step('/auth/login?max_age=100')).headers.location!);
    asked.searchParams.set('max_age', '2000');
    expect((await browser.go(asked.href)).status).toBe(400);
    const honest = new URL((await browser.step('/auth/login?max_age=2000')).headers.location!);
    expect((await browser.go(honest.href)).url).toBe(`${world.origin}/profile`);
  });

  test.each([
    ['an age that is none', 'max_age=-1'],
    ['an age given twice', 'max_age=1&max_age=2'],
    ['values with line breaks', 'acr_values=a%0d%0aB'],
    ['values that are too long', `acr_values=${'a'.repeat(301)}`],
  ])('asks for nothing that is unsound: %s', async (_what, query) => {
    const asked = new URL((await browser.step(`/auth/login?${query}`)).headers.location!).searchParams;
    expect([asked.get('acr_values'), asked.get('max_age')]).toEqual([null, null]);
  });
});

describe('what a session holds beside its login', () => {
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
  const asSomeoneElse = async () => {
    for (const cookie of await browser.jar.getCookies(world.origin))
      if (cookie.key.startsWith('_'))
        await browser.jar.store.removeCookie('localhost', cookie.path!, cookie.key);
    await world.signIn(browser, 'bob', '/auth/login?scope=write:data');
  };

  test('is still there when the same person signs in for more', async () => {
    const before = await readSession(browser);
    await world.signIn(browser, 'alice', '/auth/login?scope=write:data');
    expect((await readSession(browser)).id).not.toBe(before.id);
    expect(await sessionData()).toMatchObject({ draft: 'Dear Queen' });
    expect((await sessionData()).startedAt).toBeGreaterThan(1);
  });

  test('is not there for another person who signs in on the same browser', async () => {
    await asSomeoneElse();
    expect((await browser.fetch('/auth/session')).json()).toMatchObject({ user: { sub: 'bob' } });
    expect(await sessionData()).not.toHaveProperty('draft');
  });

  test('is not there when nobody was signed in any more', async () => {
    const { id } = await readSession(browser);
    await world.latchkey.deps.tokenStore.take(id);
    await world.signIn(browser, 'alice', '/auth/login?scope=write:data');
    expect(await sessionData()).not.toHaveProperty('draft');
  });

  test('is not there when the provider does not say who signs in', async () => {
    const anonymous = await createWorld({ env: { OAUTH2_SCOPES: 'read:data' } });
    const [wasWorld, wasBrowser] = [world, browser];
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
      [world, browser] = [wasWorld, wasBrowser];
      await anonymous.close();
    }
  });
});
