import { type Browser, cookieNames, type Page } from '../support/browser.ts';
import { createLatch } from '../support/latch.ts';
import { createWorld, finishSignIn, type World, type WorldOptions } from '../support/world.ts';

let world: World;
let browser: Browser;

async function start(options: WorldOptions = {}): Promise<void> {
  world = await createWorld({
    store: 'redis',
    ...options,
    env: { OAUTH2_SCOPES: 'openid profile', ...options.env },
  });
  browser = world.browser();
  await world.signIn(browser);
}
afterEach(() => world.close());

const isCallback = (url: string) => url.startsWith(`${world.origin}/auth/callback`);
const signOut = (): Promise<Page> => browser.step('/auth/logout', { method: 'POST', from: world.origin });
/** A sign-out whose request has these cookies instead of those of the browser, which does not get the response. */
const signOutWith = (cookie: string, origin = world.origin): Promise<Page> =>
  world.browser().send(`${origin}/auth/logout`, {
    method: 'POST',
    headers: { cookie, origin: world.origin, accept: 'text/html', 'sec-fetch-site': 'same-origin' },
  });
const session = async () => (await browser.fetch('/auth/session')).json();
const nextOf = ({ text }: Page) =>
  /http-equiv="refresh" content="0;url=([^"]+)"/.exec(text)?.[1]?.replaceAll('&amp;', '&');
const areAllRevoked = async () => {
  await world.latchkey.drain();
  const active = await Promise.all(
    [...world.issued.access, ...world.issued.refresh].map((each) => world.isActive(each)),
  );
  return active.every((each) => !each);
};

/** A step-up in a second tab, up to its callback. */
async function reachCallback(): Promise<string> {
  const page = await browser.go('/auth/login?scope=read:data', { until: isCallback });
  if (isCallback(page.url)) return page.url;
  const scope = [...page.text.matchAll(/name="scope" value="([^"]*)"/g)].map(([, each]) => each!);
  return (await browser.submit(page, { decision: 'allow', scope }, { action: '/consent', until: isCallback }))
    .url;
}

test('a client that is no browser and accepts JSON gets 204 for a sign-out, as a script does; others get what a navigation gets', async () => {
  await start({ store: 'memory' });
  const statusFor = async (headers: Record<string, string>) => {
    const { status } = await world.browser().send(`${world.origin}/auth/logout`, { method: 'POST', headers });
    return status;
  };
  expect(await statusFor({ accept: 'application/json' })).toBe(204);
  expect(await statusFor({ accept: 'application/json, */*;q=0.1' })).toBe(204);
  expect(
    await statusFor({
      accept: 'application/json',
      'sec-fetch-mode': 'cors',
      'sec-fetch-site': 'same-origin',
    }),
  ).toBe(204);
  expect(await statusFor({ accept: 'text/html,*/*' })).toBe(200);
  expect(await statusFor({ accept: '*/*' })).toBe(200);
  const cookie = await browser.jar.getCookieString(world.origin);
  expect(await statusFor({ accept: 'application/json', cookie })).toBe(204);
  expect(await session()).toEqual({ authenticated: false });
});

describe.each(['memory', 'redis'] as const)('a sign-out while another tab signs in (%s)', (store) => {
  test('during the exchange of the code: nobody is signed in afterwards, and every token is revoked', async () => {
    await start({ store });
    const callback = await reachCallback();
    const { opened: hold, open: release } = createLatch();
    const before = world.providerFaults.count(/^\/token$/);
    world.providerFaults.set({ path: /^\/token$/, hold });
    const login = browser.go(callback, { from: world.provider.issuer });
    while (world.providerFaults.count(/^\/token$/) === before)
      await new Promise((done) => setTimeout(done, 5));
    await signOut();
    world.providerFaults.set(undefined);
    release();
    const page = await login;
    expect([page.status, page.url]).toEqual([200, `${world.origin}/auth/signed-out`]);
    expect(await session()).toEqual({ authenticated: false });
    expect(await areAllRevoked()).toBe(true);
  });

  test('just after it, with the cookie of before: the new session ends too', async () => {
    await start({ store });
    const callback = await reachCallback();
    const cookie = await browser.jar.getCookieString(world.origin);
    expect((await browser.go(callback, { from: world.provider.issuer })).url).toBe(`${world.origin}/profile`);
    await signOutWith(cookie);
    expect(await session()).toEqual({ authenticated: false });
    expect(await areAllRevoked()).toBe(true);
  });

  test('before the callback arrives: the code is not redeemed', async () => {
    await start({ store });
    const callback = await reachCallback();
    await signOut();
    const grants = world.grants.length;
    const page = await browser.go(callback, { from: world.provider.issuer });
    expect(page.url).toBe(`${world.origin}/auth/signed-out`);
    expect(world.grants).toHaveLength(grants);
    expect(await session()).toEqual({ authenticated: false });
  });

  test('a user whose sign-out got no response can sign in again with the old cookie', async () => {
    await start({ store });
    const cookie = await browser.jar.getCookieString(world.origin);
    await signOutWith(cookie);
    for (const each of cookie.split('; ')) await browser.jar.setCookie(each, world.origin);
    expect((await world.signIn(browser)).url).toBe(`${world.origin}/profile`);
    expect(await session()).toMatchObject({ authenticated: true });
  });
});

describe('logins in progress, and other users', () => {
  /** Starts the redemption of a code, which waits at the token endpoint until `release` is called. */
  async function holdLogin(callback: string) {
    const { opened: hold, open } = createLatch();
    const before = world.providerFaults.count(/^\/token$/);
    world.providerFaults.set({ path: /^\/token$/, hold });
    const page = browser.go(callback, { from: world.provider.issuer });
    while (world.providerFaults.count(/^\/token$/) === before)
      await new Promise((done) => setTimeout(done, 5));
    world.providerFaults.set(undefined);
    return { page, release: open };
  }

  test('a login that began without a session and is redeemed while another tab signs in and out does not sign the user in', async () => {
    world = await createWorld({ store: 'redis', env: { OAUTH2_SCOPES: 'openid profile' } });
    browser = world.browser();
    const first = await browser.go('/auth/login');
    const second = await browser.step('/auth/login');
    const binding = await browser.loginCookie();
    const { login: loginName, session: sessionName } = cookieNames(world.origin);
    await finishSignIn(browser, first);
    const session1 = await browser.sessionCookie();
    const { url } = await browser.go(second.headers.location!, { until: isCallback });
    // The callback was sent before the first tab had signed in, and over http the login cookie changes with each login.
    await browser.jar.setCookie(`${loginName}=${binding}; Path=/`, world.origin);
    await browser.jar.store.removeCookie('localhost', '/', sessionName);
    const login = await holdLogin(url);
    await browser.jar.setCookie(`${sessionName}=${session1}; Path=/`, world.origin);
    await signOut();
    login.release();
    expect((await login.page).url).toBe(`${world.origin}/auth/signed-out`);
    expect(await session()).toEqual({ authenticated: false });
  });

  test('a login that lost against a sign-out leaves the cookie of a later login alone', async () => {
    await start();
    const login = await holdLogin(await reachCallback());
    await signOut();
    await world.signIn(browser);
    const cookie = await browser.sessionCookie();
    login.release();
    await login.page;
    expect(await browser.sessionCookie()).toBe(cookie);
    expect(await session()).toMatchObject({ authenticated: true });
  });

  test("a sign-out with the cookie of another user's replaced session does not end the new session", async () => {
    await start();
    const cookie = await browser.jar.getCookieString(world.origin);
    for (const each of await browser.jar.getCookies(world.origin)) // the provider's
      if (each.key.startsWith('_')) await browser.jar.store.removeCookie('localhost', each.path!, each.key);
    await world.signIn(browser, 'bob');
    expect(await session()).toMatchObject({ user: { sub: 'bob' } });
    const response = await signOutWith(cookie);
    expect([response.status, response.headers['set-cookie']]).toEqual([409, undefined]);
    const atBob = await browser.fetch('/auth/session');
    expect(atBob.json()).toMatchObject({ authenticated: true });
  });
});

test('a login that began before the sign-out in a tab without a session does not sign the user in', async () => {
  world = await createWorld({ store: 'memory' });
  browser = world.browser();
  const begun = await browser.step('/auth/login');
  await world.signIn(browser);
  await signOut();
  const provider = await browser.go(begun.headers.location!, { until: isCallback });
  const callback = isCallback(provider.url) ? provider.url : undefined;
  if (callback !== undefined)
    expect((await browser.step(callback)).headers.location).toMatch(/\/auth\/signed-out$|\/auth\?/);
  expect(await session()).toEqual({ authenticated: false });
});

test('signing out after the session has expired still ends the session at the provider', async () => {
  await start({ env: { SESSION_IDLE_SECONDS: '60' } });
  await world.clock.advance(61);
  const page = await signOut();
  expect(page.status).toBe(200);
  expect(nextOf(page)).toContain(`${world.provider.issuer}/session/end?`);
});

test('an instance that started while the provider was away still leads there at sign-out', async () => {
  await start();
  world.providerFaults.set({ path: /well-known/, response: 'reset' });
  const other = await world.startAnotherInstance();
  world.providerFaults.set(undefined);
  const cookie = await browser.jar.getCookieString(world.origin);
  const page = await signOutWith(cookie, other.origin);
  expect(nextOf(page)).toContain('/session/end?');
});

test('no page allows forms to other origins', async () => {
  await start();
  for (const path of ['/', '/profile', '/auth/logout'])
    expect((await browser.go(path)).headers['content-security-policy']).toMatch(/form-action 'self'(;|$)/);
});

describe('OAUTH2_LOGOUT_HINT', () => {
  const parametersOf = async () => Object.fromEntries(new URL(nextOf(await signOut())!).searchParams);

  test('none says nothing about the user', async () => {
    await start();
    expect(Object.keys(await parametersOf()).sort()).toEqual([
      'client_id',
      'post_logout_redirect_uri',
      'state',
    ]);
  });

  test('logout_hint sends the sub', async () => {
    await start({ env: { OAUTH2_LOGOUT_HINT: 'logout_hint' } });
    expect(await parametersOf()).toMatchObject({ logout_hint: 'alice' });
  });

  test('id_token sends the ID token, and the provider then asks for no confirmation', async () => {
    await start({ env: { OAUTH2_LOGOUT_HINT: 'id_token' } });
    expect((await parametersOf()).id_token_hint).toMatch(/^ey[\w-]+\.[\w-]+\.[\w-]+$/);
  });
});

describe('ordinary responses to revocations', () => {
  test.each([
    ['unsupported_token_type (RFC 7009 2.2.1)', 'unsupported_token_type'],
    ['invalid_token', 'invalid_token'],
  ])('%s for the access token is no error and no warning', async (_what, error) => {
    await start({ store: 'memory' });
    let requests = 0;
    world.provider.provider.use(async (ctx, next) => {
      if (!ctx.path.endsWith('/revocation')) return next();
      requests += 1;
      if (requests === 1) return next(); // the refresh token
      ctx.status = 400;
      ctx.body = { error };
    });
    await signOut();
    await world.latchkey.drain();
    expect(requests).toBe(2);
    const problems = world.latchkey.logLines.filter((line) => /"level":"(warn|error)"/.test(line));
    expect(problems.filter((line) => !line.includes('profile API'))).toEqual([]);
  });
});

test('twenty tabs that sign in at once all end on their own page, and one sign-out ends all', async () => {
  world = await createWorld({ store: 'redis' });
  browser = world.browser();
  const first = await browser.go('/auth/login?return_to=%2F%3Ftab%3D0');
  await finishSignIn(browser, first);
  const tabs = Array.from({ length: 20 }, (_, index) =>
    browser.go(`/auth/login?return_to=${encodeURIComponent(`/?tab=${index}`)}`),
  );
  const pages = await Promise.all(tabs);
  expect(pages.map(({ url }) => url)).toEqual(pages.map((_, index) => `${world.origin}/?tab=${index}`));
  await signOut();
  expect(await session()).toEqual({ authenticated: false });
});
