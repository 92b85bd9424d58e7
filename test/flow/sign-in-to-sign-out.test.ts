import { Browser, cookieNames } from '../support/browser.ts';
import { createWorld, finishSignIn, type World } from '../support/world.ts';

interface SessionResponse {
  authenticated: boolean;
  user?: { sub?: string; name?: string };
  scope?: string[];
  token_type?: string;
  access_token_expires_at?: string;
  session_expires_at?: string;
}

describe.each(['memory', 'redis'] as const)('from sign-in to sign-out with the %s store', (store) => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({
      store,
      env: { OAUTH2_SCOPES: 'openid profile email read:profile read:data write:data' },
    });
  });
  afterAll(() => world.close());

  test('a user signs in, sees their profile, calls the API, refreshes the token and signs out', async () => {
    const browser = world.browser();
    const home = await browser.go('/');
    expect(home.text.match(/href="\/auth\/login"/g)).toHaveLength(2); // the header and the button: no page in between

    const profile = await world.signIn(browser);
    expect(profile.url).toBe(`${world.origin}/profile`);
    expect(profile.status).toBe(200);
    expect(profile.text).toContain('Alice Liddell');
    expect(profile.text).toContain('read:data');
    expect(profile.headers['cache-control']).toBe('no-store');

    expect((await browser.fetch('/api/profile')).json()).toMatchObject({ sub: 'alice' });
    const added = await browser.fetch('/api/data', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ title: 'Ask the caterpillar' }),
    });
    expect(added.status).toBe(201);
    expect((await browser.fetch('/api/data?limit=1')).text).toContain('Ask the caterpillar');

    const before = (await browser.fetch('/auth/session')).json() as SessionResponse;
    expect(before).toMatchObject({
      authenticated: true,
      user: { sub: 'alice', name: 'Alice Liddell', email: 'alice@example.test' },
      scope: ['openid', 'profile', 'email', 'read:profile', 'read:data', 'write:data'],
      token_type: 'bearer',
    });
    expect(Date.parse(before.access_token_expires_at!) - Date.now()).toBeGreaterThan(290_000);
    expect(Date.parse(before.session_expires_at!) - Date.now()).toBeGreaterThan(86_000_000);

    const refreshed = await browser.submit(profile, {}, { action: '/auth/refresh' });
    expect(refreshed.url).toBe(`${world.origin}/profile`);
    const flash = /class="flash"[^>]*><p>Your access was renewed\./; // the page also contains this text for its script
    expect(refreshed.text).toMatch(flash);
    expect((await browser.go('/profile')).text).not.toMatch(flash);
    expect(world.grants.filter((each) => each === 'refresh_token')).toHaveLength(1);

    const confirmation = await browser.go('/auth/logout');
    expect(confirmation.text).toContain('Sign out?');
    expect((await browser.fetch('/api/profile')).status).toBe(200);

    const oldCookie = await browser.sessionCookie();
    const atProvider = await browser.submit(confirmation, {}, { action: '/auth/logout' });
    expect(atProvider.url).toMatch(/\/session\/end\?/);
    const signedOut = await browser.submit(atProvider, { logout: 'yes', xsrf: xsrfOf(atProvider.text) });
    expect(signedOut.url).toBe(`${world.origin}/auth/signed-out`);

    const replayed = await browser.send(`${world.origin}/api/profile`, {
      headers: { cookie: `${cookieNames(world.origin).session}=${oldCookie}` },
    });
    expect(replayed.status).toBe(401);
    expect((await browser.fetch('/auth/session')).json()).toEqual({ authenticated: false });
    for (const token of [...world.issued.access, ...world.issued.refresh])
      expect(await world.isActive(token)).toBe(false);
  });

  test('signing in as another user with the same browser ends the first session and revokes its tokens', async () => {
    const browser = world.browser();
    await world.signIn(browser, 'alice');
    const tokensOfAlice = [world.issued.access.at(-1)!, world.issued.refresh.at(-1)!];
    for (const cookie of await browser.jar.getCookies(world.origin))
      if (cookie.key.startsWith('_'))
        await browser.jar.store.removeCookie('localhost', cookie.path!, cookie.key);
    await world.signIn(browser, 'bob');
    await world.latchkey.drain();
    expect((await browser.fetch('/api/profile')).json()).toMatchObject({ sub: 'bob' });
    for (const token of tokensOfAlice) expect(await world.isActive(token)).toBe(false);
  });
});

function xsrfOf(html: string): string {
  return /name="xsrf" value="([^"]*)"/.exec(html)![1]!;
}

describe('signing in', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
  });
  afterAll(() => world.close());

  test('after sign-in, the browser returns to the return_to URL, including its query', async () => {
    const browser = world.browser();
    const page = await world.signIn(browser, 'bob', '/auth/login?return_to=/%3Fa%3D1%26b%3D2');
    expect(page.url).toBe(`${world.origin}/?a=1&b=2`);
    expect(page.status).toBe(200);
  });

  test('a page that requires a session leads to the provider at once, and sign-in leads back to it', async () => {
    const browser = world.browser();
    expect((await browser.step('/profile?a=1&b=%2F')).headers.location).toBe(
      `${world.origin}/auth/login?${new URLSearchParams({ return_to: '/profile?a=1&b=%2F' })}`,
    );
    expect((await world.signIn(browser, 'alice', '/profile?a=1')).url).toBe(`${world.origin}/profile?a=1`);
    expect((await browser.step('/auth/sign-in')).headers.location).toBe(`${world.origin}/profile`);
  });

  test('the authorization request uses code, PKCE S256 and state, and all tabs share one login cookie', async () => {
    const browser = world.browser();
    const first = await browser.step('/auth/login');
    const query = new URL(first.headers.location!).searchParams;
    expect(first.status).toBe(303);
    expect(Object.fromEntries(query)).toMatchObject({
      response_type: 'code',
      code_challenge_method: 'S256',
      client_id: world.client.clientId,
      redirect_uri: `${world.origin}/auth/callback`,
      scope: 'read:profile read:data write:data',
    });
    expect(query.get('code_challenge')).toMatch(/^[\w-]{43}$/);
    expect(query.has('nonce')).toBe(false); // without the scope openid there is no ID token
    const cookie = await browser.loginCookie();
    for (let tab = 0; tab < 20; tab += 1) await browser.step('/auth/login?return_to=/profile');
    expect(await browser.loginCookie()).toBe(cookie);
    expect(await browser.jar.getCookies(world.origin)).toHaveLength(1);
    expect(first.headers['set-cookie']![0]).toMatch(/HttpOnly; SameSite=Lax/);
  });

  test.each([
    ['a prefetch', { 'sec-purpose': 'prefetch' }],
    ['a prefetch by an older browser', { purpose: 'prefetch' }],
    ['fetch()', { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }],
    ['an image request', { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }],
  ])('%s does not start a login', async (_what, headers) => {
    const response = await world.browser().step('/auth/login', { headers });
    expect(response.status).toBe(401);
    expect(response.headers.location).toBeUndefined();
    expect(response.headers['set-cookie']).toBeUndefined();
  });

  test('twenty tabs can sign in at once and complete in any order, each returning to its own page', async () => {
    const browser = world.browser();
    const isCallback = (url: string) => url.startsWith(`${world.origin}/auth/callback`);
    const tabs = [];
    for (let tab = 0; tab < 20; tab += 1) tabs.push(await browser.go(`/auth/login?return_to=/?tab=${tab}`));
    // The first sign-in includes the consent; the provider does not ask for it in the other tabs.
    const callbacks: string[] = [];
    for (const tab of tabs) {
      const page = await browser.submit(
        tab,
        { login: 'alice', password: 'x' },
        { action: '/login', until: isCallback },
      );
      const callback = page.text.includes('value="allow"')
        ? await browser.submit(page, { decision: 'allow' }, { action: '/consent', until: isCallback })
        : page;
      expect(callback.url).toMatch(/\/auth\/callback\?code=/);
      callbacks.push(callback.url);
    }
    for (const tab of [...callbacks.keys()].reverse()) {
      const page = await browser.go(callbacks[tab]!);
      expect(page.url).toBe(`${world.origin}/?tab=${tab}`);
      expect((await browser.fetch('/api/profile')).status).toBe(200);
    }
  });

  test('tabs that start a login at the same time, before any has a cookie, all sign in and return to their own page', async () => {
    const browser = world.browser();
    const starts = await Promise.all(
      [1, 2, 3].map((tab) => browser.step(`/auth/login?return_to=/?tab=${tab}`)),
    );
    // Three login cookies, of which the browser keeps only one.
    expect(new Set(starts.map(({ headers }) => headers['set-cookie']![0])).size).toBe(3);
    const finalUrls = [];
    for (const [index, { headers }] of starts.entries()) {
      const page = await browser.go(headers.location!);
      finalUrls.push((index === 0 ? await finishSignIn(browser, page) : page).url);
    }
    expect(finalUrls).toEqual([1, 2, 3].map((tab) => `${world.origin}/?tab=${tab}`));
    expect((await browser.fetch('/api/profile')).status).toBe(200);
  });

  /** Signs in at the provider, but does not request the callback to which it redirects. */
  async function toCallback(browser: Browser, loginPath: string): Promise<string> {
    const until = (url: string) => url.startsWith(`${world.origin}/auth/callback`);
    let page = await browser.go(loginPath, { until });
    if (page.text.includes('name="password"'))
      page = await browser.submit(page, { login: 'alice', password: 'x' }, { action: '/login', until });
    if (page.text.includes('value="allow"'))
      page = await browser.submit(page, { decision: 'allow' }, { action: '/consent', until });
    return page.url;
  }

  test('over http, the login cookie has another value after each login', async () => {
    const browser = world.browser();
    const values = new Set();
    for (let login = 0; login < 3; login += 1) {
      await browser.step('/auth/login');
      values.add(await browser.loginCookie());
      await world.signIn(browser);
    }
    values.add(await browser.loginCookie());
    expect(values.size).toBe(4);
  });

  test('a step-up in one tab gets what it requests although another tab signs in before it ends', async () => {
    const previousWorld = world;
    world = await createWorld({ env: { OAUTH2_SCOPES: 'read:profile' } });
    const browser = world.browser();
    const stepUp = await toCallback(browser, '/auth/login?scope=write:data&return_to=/?tab=2');
    await world.signIn(browser);
    expect((await browser.go(stepUp)).url).toBe(`${world.origin}/?tab=2`);
    const session = (await browser.fetch('/auth/session')).json() as SessionResponse;
    expect(session.scope).toContain('write:data');
    await world.close();
    world = previousWorld;
  });

  test('tabs whose callbacks see no session, as with SameSite=Strict, all end signed in after another tab has', async () => {
    const browser = world.browser();
    const withoutSession = () =>
      browser.jar.store.removeCookie('localhost', '/', cookieNames(world.origin).session);
    const callbacks = [];
    for (const tab of [1, 2]) callbacks.push(await toCallback(browser, `/auth/login?return_to=/?tab=${tab}`));
    await world.signIn(browser);
    const restarted = [];
    for (const each of callbacks) {
      await withoutSession();
      restarted.push((await browser.step(each)).headers.location!);
    }
    const secondCallbacks = [];
    for (const each of restarted) secondCallbacks.push(await toCallback(browser, each));
    for (const [index, each] of secondCallbacks.entries()) {
      await withoutSession();
      expect((await browser.go(each)).url).toBe(`${world.origin}/?tab=${index + 1}`);
      expect((await browser.fetch('/api/profile')).status).toBe(200);
    }
  });

  test('a second login in another tab leaves the session and the grant at the provider valid', async () => {
    const browser = world.browser();
    const isCallback = (url: string) => url.startsWith(`${world.origin}/auth/callback`);
    await world.signIn(browser);
    const second = await browser.go('/auth/login', { until: isCallback });
    await browser.go(second.url);
    await world.latchkey.drain();
    expect((await browser.fetch('/api/profile')).status).toBe(200);
    expect(
      (await browser.fetch('/auth/refresh', { method: 'POST', headers: { accept: 'application/json' } }))
        .status,
    ).toBe(200);
  });

  test('declining consent leads to the sign-in page, which says so once, and does not sign the user in', async () => {
    const browser = world.browser();
    let page = await browser.go('/auth/login');
    page = await browser.submit(page, { login: 'bob', password: 'x' }, { action: '/login' });
    page = await browser.submit(page, { decision: 'deny' }, { action: '/consent' });
    expect(page.url).toBe(`${world.origin}/auth/sign-in?return_to=%2Fprofile`);
    expect(page.text).toContain('The sign-in was cancelled');
    expect((await browser.go(page.url)).text).not.toContain('The sign-in was cancelled');
    expect(page.text).toContain('href="/auth/login?return_to=%2Fprofile"');
    expect((await browser.fetch('/auth/session')).json()).toEqual({ authenticated: false });
    expect(await browser.sessionCookie()).toBeUndefined();
  });
});

test('two apps on one host with different ports keep their sessions apart in one browser', async () => {
  const [one, two] = [await createWorld({ store: 'memory' }), await createWorld({ store: 'memory' })];
  try {
    const first = one.browser();
    const second = new Browser(two.origin, first.jar);
    await one.signIn(first, 'alice');
    await two.signIn(second, 'bob');
    expect((await first.fetch('/api/profile')).json()).toMatchObject({ sub: 'alice' });
    expect((await second.fetch('/api/profile')).json()).toMatchObject({ sub: 'bob' });
    await second.fetch('/auth/logout', { method: 'POST' });
    expect((await second.fetch('/api/profile')).status).toBe(401);
    expect((await first.fetch('/api/profile')).json()).toMatchObject({ sub: 'alice' });
  } finally {
    await one.close();
    await two.close();
  }
});

describe('a repeated callback', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
  });
  afterAll(() => world.close());
  const isCallback = (url: string) => url.includes('/auth/callback?');

  async function toCallback(browser = world.browser()) {
    let page = await browser.go('/auth/login?return_to=/?deep');
    page = await browser.submit(
      page,
      { login: 'alice', password: 'x' },
      { action: '/login', until: isCallback },
    );
    if (!isCallback(page.url))
      page = await browser.submit(page, { decision: 'allow' }, { action: '/consent', until: isCallback });
    return { browser, url: page.url };
  }

  test('with a session, going back to the callback leads to the return page and redeems no code', async () => {
    const { browser, url } = await toCallback();
    await browser.go(url);
    const cookie = await browser.sessionCookie();
    const grants = world.grants.length;
    expect((await browser.go(url)).url).toBe(`${world.origin}/?deep`);
    expect(world.grants).toHaveLength(grants);
    expect(await browser.sessionCookie()).toBe(cookie);
    expect((await browser.fetch('/api/profile')).status).toBe(200);
  });

  test('two simultaneous requests for one callback redeem its code once and sign the user in', async () => {
    const { browser, url } = await toCallback();
    const before = world.providerFaults.count(/^\/token$/);
    const [one, two] = await Promise.all([browser.go(url), browser.go(url)]);
    expect(one.status).toBe(200);
    expect(two.status).toBe(200);
    expect((await browser.fetch('/api/profile')).status).toBe(200);
    // One code of the callback and, if the other request found no session yet, one of the login it restarted.
    expect(world.providerFaults.count(/^\/token$/) - before).toBeLessThanOrEqual(2);
  });

  test('without a session, a replayed callback restarts the login once, then shows an error page', async () => {
    const { browser, url } = await toCallback();
    const loseSession = () =>
      browser.jar.store.removeCookie('localhost', '/', cookieNames(world.origin).session);
    const binding = await browser.loginCookie();
    await browser.go(url);
    await loseSession();
    const restarted = await browser.step(url);
    expect(restarted.status).toBe(303);
    expect(restarted.headers.location).toMatch(/\/auth\?/);

    const second = (await browser.go(restarted.headers.location!, { until: isCallback })).url;
    await browser.go(second);
    await loseSession();
    const third = await browser.step(second);
    expect(await browser.loginCookie()).not.toBe(binding); // over http, a login replaces it
    expect(third.status).toBe(400);
    expect(third.text).toContain('Sign-in failed');
  });

  test('a callback works only in the browser that started the login', async () => {
    const { url } = await toCallback();
    const otherBrowser = await world.browser().step(url);
    expect(otherBrowser.headers.location).toMatch(/\/auth\?/); // starts a new login
  });

  test('a second factor that takes eleven minutes costs no login: it starts again, once, and leads to the same page', async () => {
    const { browser, url } = await toCallback();
    await world.clock.advance(660);
    const grants = world.grants.length;
    const late = await browser.step(url);
    expect(late.headers.location).toMatch(/\/auth\?/);
    expect(world.grants).toHaveLength(grants); // the code of the late callback is not redeemed
    const page = await browser.go(late.headers.location!, { from: world.origin });
    expect((await finishSignIn(browser, page)).url).toBe(`${world.origin}/?deep`);
  });

  test('a bookmarked callback of last week leads a user who is signed in to the page of that login', async () => {
    const { browser, url } = await toCallback();
    await world.clock.advance(8 * 86_400);
    await world.signIn(browser, 'alice', '/auth/login?return_to=/');
    const page = await browser.step(url);
    expect([page.status, page.headers.location]).toEqual([303, `${world.origin}/?deep`]);
  });

  test('a HEAD request to the callback does not redeem the code', async () => {
    const { browser, url } = await toCallback();
    expect((await browser.step(url, { method: 'HEAD' })).status).toBe(405);
    expect((await browser.go(url)).url).toBe(`${world.origin}/?deep`);
  });

  test('after a short provider outage, reloading the callback completes the login', async () => {
    const { browser, url } = await toCallback();
    world.providerFaults.set({ path: /^\/token$/, response: { status: 503 } });
    const unavailable = await browser.step(url);
    expect(unavailable.status).toBe(503);
    expect(unavailable.text).toContain('Problem with');
    world.providerFaults.set(undefined);
    expect((await browser.go(url)).url).toBe(`${world.origin}/?deep`);
  });
});

describe('a provider configured by its endpoints, without an issuer', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({
      withoutIssuer: true,
      clientAuth: 'client_secret_post',
      env: { OAUTH2_SCOPES: 'openid profile read:profile' },
    });
  });
  afterAll(() => world.close());

  test('login works although Latchkey cannot verify iss or the ID token', async () => {
    const browser = world.browser();
    expect((await world.signIn(browser)).url).toBe(`${world.origin}/profile`);
    expect((await browser.fetch('/api/profile')).json()).toMatchObject({ sub: 'alice' });
    const session = (await browser.fetch('/auth/session')).json() as SessionResponse;
    expect(session.user).toEqual({}); // no userinfo endpoint is configured either
    await finishSignIn(browser, await browser.go('/auth/login')); // again, with an existing session
    expect((await browser.fetch('/api/profile')).status).toBe(200);
  });
});
