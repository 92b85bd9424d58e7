import { createWorld, finishSignIn, type World } from '../support/world.ts';

interface SessionAnswer {
  authenticated: boolean;
  user?: { sub?: string; name?: string };
  scope?: string[];
  token_type?: string;
  access_token_expires_at?: string;
  session_expires_at?: string;
}

describe.each(['memory', 'redis'] as const)('the whole path with the %s store', (store) => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({
      store,
      env: { OAUTH2_SCOPES: 'openid profile email read:profile read:data write:data' },
    });
  });
  afterAll(() => world.close());

  test('a person signs in, sees their profile, calls the API, renews access and signs out', async () => {
    const browser = world.browser();
    const home = await browser.go('/');
    expect(home.text).toContain('href="/login"');

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

    const before = (await browser.fetch('/auth/session')).json() as SessionAnswer;
    expect(before).toMatchObject({
      authenticated: true,
      user: { sub: 'alice', name: 'Alice Liddell', email: 'alice@example.test' },
      scope: ['openid', 'profile', 'email', 'read:profile', 'read:data', 'write:data'],
      token_type: 'bearer',
    });
    expect(Date.parse(before.access_token_expires_at!) - Date.now()).toBeGreaterThan(290_000);
    expect(Date.parse(before.session_expires_at!) - Date.now()).toBeGreaterThan(86_000_000);

    const renewed = await browser.submit(profile, {}, { action: '/auth/refresh' });
    expect(renewed.url).toBe(`${world.origin}/profile`);
    const flash = /class="flash"[^>]*>Your access was renewed\./; // the same words also wait in the page for its script
    expect(renewed.text).toMatch(flash);
    expect((await browser.go('/profile')).text).not.toMatch(flash);
    expect(world.grants.filter((each) => each === 'refresh_token')).toHaveLength(1);

    const asked = await browser.go('/auth/logout');
    expect(asked.text).toContain('Sign out?');
    expect((await browser.fetch('/api/profile')).status).toBe(200);

    const oldCookie = await browser.cookie('latchkey');
    const atProvider = await browser.submit(asked, {}, { action: '/auth/logout' });
    expect(atProvider.url).toMatch(/\/session\/end\?/);
    const signedOut = await browser.submit(atProvider, { logout: 'yes', xsrf: xsrfOf(atProvider.text) });
    expect(signedOut.url).toBe(`${world.origin}/signed-out`);

    const replayed = await browser.send(`${world.origin}/api/profile`, {
      headers: { cookie: `latchkey=${oldCookie}` },
    });
    expect(replayed.status).toBe(401);
    expect((await browser.fetch('/auth/session')).json()).toEqual({ authenticated: false });
    for (const token of [...world.issued.access, ...world.issued.refresh])
      expect(await world.isActive(token)).toBe(false);
  });

  test('another person who signs in on the same browser ends the first login, at the provider too', async () => {
    const browser = world.browser();
    await world.signIn(browser, 'alice');
    const alices = [world.issued.access.at(-1)!, world.issued.refresh.at(-1)!];
    for (const cookie of await browser.jar.getCookies(world.origin))
      if (cookie.key.startsWith('_'))
        await browser.jar.store.removeCookie('localhost', cookie.path!, cookie.key);
    await world.signIn(browser, 'bob');
    await world.latchkey.drain();
    expect((await browser.fetch('/api/profile')).json()).toMatchObject({ sub: 'bob' });
    for (const token of alices) expect(await world.isActive(token)).toBe(false);
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

  test('leads back to the very page that was asked for, with its query', async () => {
    const browser = world.browser();
    const page = await world.signIn(browser, 'bob', '/auth/login?return_to=/%3Fa%3D1%26b%3D2');
    expect(page.url).toBe(`${world.origin}/?a=1&b=2`);
    expect(page.status).toBe(200);
  });

  test('a page that needs a login leads to the sign-in page and back', async () => {
    const browser = world.browser();
    const login = await browser.go('/profile');
    expect(login.url).toBe(`${world.origin}/login?return_to=%2Fprofile`);
    const link = /href="(\/auth\/login[^"]*)"/.exec(login.text)![1]!.replaceAll('&amp;', '&');
    expect((await world.signIn(browser, 'alice', link)).url).toBe(`${world.origin}/profile`);
    expect((await browser.step('/login')).headers.location).toBe(`${world.origin}/profile`);
  });

  test('asks with code, PKCE S256 and state, and sets one small cookie that all tabs share', async () => {
    const browser = world.browser();
    const first = await browser.step('/auth/login');
    const asked = new URL(first.headers.location!).searchParams;
    expect(first.status).toBe(303);
    expect(Object.fromEntries(asked)).toMatchObject({
      response_type: 'code',
      code_challenge_method: 'S256',
      client_id: 'latchkey-test',
      redirect_uri: `${world.origin}/auth/callback`,
      scope: 'read:profile read:data write:data',
    });
    expect(asked.get('code_challenge')).toMatch(/^[\w-]{43}$/);
    expect(asked.has('nonce')).toBe(false); // nobody asked for an ID token
    const cookie = await browser.cookie('latchkey-login');
    for (let tab = 0; tab < 20; tab += 1) await browser.step('/auth/login?return_to=/profile');
    expect(await browser.cookie('latchkey-login')).toBe(cookie);
    expect(await browser.jar.getCookies(world.origin)).toHaveLength(1);
    expect(first.headers['set-cookie']![0]).toMatch(/HttpOnly; SameSite=Lax/);
  });

  test.each([
    ['a prefetch', { 'sec-purpose': 'prefetch' }],
    ['a prefetch of a older browser', { purpose: 'prefetch' }],
    ['fetch()', { 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }],
    ['an image', { 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' }],
  ])('is not begun by %s', async (_what, headers) => {
    const answer = await world.browser().step('/auth/login', { headers });
    expect(answer.status).toBe(401);
    expect(answer.headers.location).toBeUndefined();
    expect(answer.headers['set-cookie']).toBeUndefined();
  });

  test('twenty tabs may sign in at once and finish in any order, each on its own page', async () => {
    const browser = world.browser();
    const isCallback = (url: string) => url.startsWith(`${world.origin}/auth/callback`);
    const tabs = [];
    for (let tab = 0; tab < 20; tab += 1) tabs.push(await browser.go(`/auth/login?return_to=/?tab=${tab}`));
    // The first to sign in takes the consent along; every other tab's sign-in page is then passed through.
    const callbacks: string[] = [];
    for (const tab of tabs) {
      const page = await browser.submit(
        tab,
        { login: 'alice', password: 'x' },
        { action: '/login', until: isCallback },
      );
      const done = page.text.includes('value="allow"')
        ? await browser.submit(page, { decision: 'allow' }, { action: '/consent', until: isCallback })
        : page;
      expect(done.url).toMatch(/\/auth\/callback\?code=/);
      callbacks.push(done.url);
    }
    for (const tab of [...callbacks.keys()].reverse()) {
      const page = await browser.go(callbacks[tab]!);
      expect(page.url).toBe(`${world.origin}/?tab=${tab}`);
      expect((await browser.fetch('/api/profile')).status).toBe(200);
    }
  });

  test('tabs that begin at the same moment, before any has a cookie, all end signed in on their own page', async () => {
    const browser = world.browser();
    const begun = await Promise.all(
      [1, 2, 3].map((tab) => browser.step(`/auth/login?return_to=/?tab=${tab}`)),
    );
    expect(new Set(begun.map(({ headers }) => headers['set-cookie']![0])).size).toBe(3); // only one of them stays
    const ends = [];
    for (const [index, { headers }] of begun.entries()) {
      const page = await browser.go(headers.location!);
      ends.push((index === 0 ? await finishSignIn(browser, page) : page).url);
    }
    expect(ends).toEqual([1, 2, 3].map((tab) => `${world.origin}/?tab=${tab}`));
    expect((await browser.fetch('/api/profile')).status).toBe(200);
  });

  test('a tab that finishes later does not end the login of the tab before, at the provider or here', async () => {
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

  test('declining leads to a friendly page, not to a login', async () => {
    const browser = world.browser();
    let page = await browser.go('/auth/login');
    page = await browser.submit(page, { login: 'bob', password: 'x' }, { action: '/login' });
    page = await browser.submit(page, { decision: 'deny' }, { action: '/consent' });
    expect(page.url).toMatch(/\/auth\/callback\?error=access_denied/);
    expect(page.text).toContain('You chose not to give access');
    expect(page.text).toContain('href="/login"');
    expect((await browser.fetch('/auth/session')).json()).toEqual({ authenticated: false });
    expect(await browser.cookie('latchkey')).toBeUndefined();
  });
});

describe('coming back to a callback', () => {
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

  test('the back button with a live session goes to the page that login was for, and spends nothing', async () => {
    const { browser, url } = await toCallback();
    await browser.go(url);
    const cookie = await browser.cookie('latchkey');
    const grants = world.grants.length;
    expect((await browser.go(url)).url).toBe(`${world.origin}/?deep`);
    expect(world.grants).toHaveLength(grants);
    expect(await browser.cookie('latchkey')).toBe(cookie);
    expect((await browser.fetch('/api/profile')).status).toBe(200);
  });

  test('a callback sent twice at once spends its code once, and the person is signed in', async () => {
    const { browser, url } = await toCallback();
    const before = world.providerFaults.count(/^\/token$/);
    const [one, two] = await Promise.all([browser.go(url), browser.go(url)]);
    expect(one.status).toBe(200);
    expect(two.status).toBe(200);
    expect((await browser.fetch('/api/profile')).status).toBe(200);
    // One code for the callback and, when the other found no session yet, one for the login it began anew.
    expect(world.providerFaults.count(/^\/token$/) - before).toBeLessThanOrEqual(2);
  });

  test('without a session a replayed callback starts the login over once, then says what is wrong', async () => {
    const { browser, url } = await toCallback();
    const signOut = () => browser.step('/auth/logout', { method: 'POST', from: world.origin });
    await browser.go(url);
    await signOut();
    const again = await browser.step(url);
    expect(again.status).toBe(303);
    expect(again.headers.location).toMatch(/\/auth\?/);

    const consent = await browser.go(again.headers.location!);
    const ticked = { decision: 'allow' };
    const second = (await browser.submit(consent, ticked, { action: '/consent', until: isCallback })).url;
    await browser.go(second);
    await signOut();
    const third = await browser.step(second);
    expect(third.status).toBe(400);
    expect(third.text).toContain('Signing in did not work');
  });

  test('a callback is good for ten minutes, in the browser that began it', async () => {
    const { browser, url } = await toCallback();
    const foreign = await world.browser().step(url);
    expect(foreign.headers.location).toMatch(/\/auth\?/); // a login of its own
    world.clock.advance(601);
    const late = await browser.step(url);
    expect(late.status).toBe(400);
    expect(late.text).toContain('This sign-in has expired');
    expect(await browser.cookie('latchkey')).toBeUndefined();
  });

  test('a HEAD request of a link checker spends no code', async () => {
    const { browser, url } = await toCallback();
    expect((await browser.step(url, { method: 'HEAD' })).status).toBe(405);
    expect((await browser.go(url)).url).toBe(`${world.origin}/?deep`);
  });

  test('when the provider is away for a moment, reloading the callback finishes the login', async () => {
    const { browser, url } = await toCallback();
    world.providerFaults.set({ path: /^\/token$/, response: { status: 503 } });
    const away = await browser.step(url);
    expect(away.status).toBe(503);
    expect(away.text).toContain('No answer from');
    world.providerFaults.set(undefined);
    expect((await browser.go(url)).url).toBe(`${world.origin}/?deep`);
  });
});

describe('a provider given by its endpoints one by one', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({
      withoutIssuer: true,
      clientAuth: 'client_secret_post',
      env: { OAUTH2_SCOPES: 'openid profile read:profile' },
    });
  });
  afterAll(() => world.close());

  test('signs in although its iss and its ID token have nothing to be checked against', async () => {
    const browser = world.browser();
    expect((await world.signIn(browser)).url).toBe(`${world.origin}/profile`);
    expect((await browser.fetch('/api/profile')).json()).toMatchObject({ sub: 'alice' });
    const session = (await browser.fetch('/auth/session')).json() as SessionAnswer;
    expect(session.user).toEqual({}); // no userinfo endpoint was given either
    await finishSignIn(browser, await browser.go('/auth/login')); // and once more, over a live session
    expect((await browser.fetch('/api/profile')).status).toBe(200);
  });
});
