import { type Browser, cookieNames } from '../support/browser.ts';
import { createWorld, finishSignIn, type World } from '../support/world.ts';

let world: World;
let browser: Browser;

async function start(env: Readonly<Record<string, string>> = {}): Promise<void> {
  world = await createWorld({ store: 'memory', env: { OAUTH2_SCOPES: 'openid profile', ...env } });
  browser = world.browser();
}
afterEach(() => world.close());

const elsewhere = 'https://evil.example/page';
const scopeSentBy = async (address: string) => {
  const { location } = (await browser.step(address)).headers;
  return new URL(location!).searchParams.get('scope')!.split(' ');
};

describe('what a link may request', () => {
  test('a link cannot request scopes that neither the configuration nor the route table names', async () => {
    await start();
    const scope = await scopeSentBy(
      '/auth/login?scope=admin%20delete:everything%20offline_access%20read:data',
    );
    expect(scope).toEqual(['openid', 'profile', 'read:data']);
    expect(world.latchkey.logLines.join('')).toContain(
      '"ignored":["scope admin","scope delete:everything","scope offline_access"]',
    );
  });

  describe('after an API has named other scopes', () => {
    async function reachLoginUrl(): Promise<string> {
      await start();
      await world.signIn(browser);
      world.apiFaults.set({
        response: {
          status: 403,
          headers: { 'www-authenticate': 'Bearer error="insufficient_scope", scope="profile orders:write"' },
        },
      });
      const response = await browser.fetch('/api/profile');
      world.apiFaults.set(undefined);
      return (response.json() as { login_url: string }).login_url;
    }

    test('the login_url that Latchkey issued requests them', async () => {
      expect(await scopeSentBy(await reachLoginUrl())).toContain('orders:write');
    });

    test('the sign-in page says so when another site links to it', async () => {
      const url = await reachLoginUrl();
      const { text } = await browser.go(url, { from: elsewhere });
      expect(text).toContain('<li>orders:write</li>');
    });

    test.each([
      ['without its signature', (url: URL) => url.searchParams.delete('signature')],
      ['with another scope', (url: URL) => url.searchParams.set('scope', 'orders:write admin')],
      ['with another signature', (url: URL) => url.searchParams.set('signature', 'A'.repeat(43))],
    ])('the same URL %s does not', async (_what, change) => {
      const url = new URL(await reachLoginUrl());
      change(url);
      const scope = await scopeSentBy(url.href);
      expect(scope).not.toContain('orders:write');
      expect(scope).not.toContain('admin');
    });

    test('the login_url of one user requests nothing for another user', async () => {
      const url = await reachLoginUrl();
      browser = world.browser();
      await world.signIn(browser, 'bob');
      expect(await scopeSentBy(url)).not.toContain('orders:write');
    });

    test('the login_url still works with another return address', async () => {
      const url = new URL(await reachLoginUrl());
      url.searchParams.set('return_to', '/?tab=3');
      expect(await scopeSentBy(url.href)).toContain('orders:write');
    });
  });
});

describe('LOGIN_CONFIRM', () => {
  test('a link on another site leads to the sign-in page, which keeps the return address and the parameters', async () => {
    await start();
    const address =
      '/auth/login?return_to=%2F%3Fdeep%23%2Forders%2F7&scope=read:data&login_hint=alice&max_age=60';
    const page = await browser.go(address, { from: elsewhere });
    expect([page.status, new URL(page.url).pathname]).toEqual([200, '/auth/sign-in']);
    const link = /href="(\/auth\/login[^"]*)"/.exec(page.text)![1]!.replaceAll('&amp;', '&');
    const provider = await browser.step(link, { from: page.url });
    const sent = new URL(provider.headers.location!).searchParams;
    expect([sent.get('login_hint'), sent.get('max_age')]).toEqual(['alice', '60']);
    expect(sent.get('scope')).toContain('read:data');
    const signedIn = await finishSignIn(
      browser,
      await browser.go(provider.headers.location!, { from: page.url }),
    );
    expect(signedIn.url).toBe(`${world.origin}/?deep#/orders/7`);
  });

  test('a link on another site does not ask a user again who is signed in', async () => {
    await start();
    await world.signIn(browser);
    expect((await browser.go('/auth/login?return_to=%2F', { from: elsewhere })).url).toBe(`${world.origin}/`);
  });

  test.each([
    ['the address bar or a bookmark', undefined],
    ['our own page', 'own'],
    ['a sibling origin', 'http://localhost:1/'],
  ])('a login from %s goes to the provider at once', async (_what, from) => {
    await start();
    const options = from === undefined ? {} : { from: from === 'own' ? world.origin : from };
    expect((await browser.step('/auth/login', options)).headers.location).toMatch(/\/auth\?/);
  });

  test('never goes to the provider at once from every site', async () => {
    await start({ LOGIN_CONFIRM: 'never' });
    expect((await browser.step('/auth/login', { from: elsewhere })).headers.location).toMatch(/\/auth\?/);
  });
});

describe('prompt, login_hint and ui_locales', () => {
  const sentBy = async (query: string) => {
    const { location } = (await browser.step(`/auth/login?${query}`)).headers;
    return Object.fromEntries(new URL(location!).searchParams);
  };

  test('are sent to the provider', async () => {
    await start();
    expect(await sentBy('prompt=select_account&login_hint=a%40b.example&ui_locales=de-AT+en')).toMatchObject({
      prompt: 'select_account',
      login_hint: 'a@b.example',
      ui_locales: 'de-AT en',
    });
  });

  test.each([
    ['an unknown prompt', 'prompt=hack', 'prompt'],
    ['a login_hint with a line break', 'login_hint=a%0ab', 'login_hint'],
    ['ui_locales that are no language tags', 'ui_locales=%3Cscript%3E', 'ui_locales'],
    ['a repeated prompt', 'prompt=login&prompt=none', 'prompt'],
  ])('%s is left out', async (_what, query, name) => {
    await start();
    expect(await sentBy(query)).not.toHaveProperty(name);
  });

  test('a link adds to the prompt of the operator and cannot remove it', async () => {
    await start({ OAUTH2_AUTHORIZATION_PARAMS: 'prompt=login&login_hint=team' });
    expect(await sentBy('prompt=none&login_hint=mallory')).toMatchObject({
      prompt: 'login',
      login_hint: 'team',
    });
    expect(await sentBy('prompt=consent')).toMatchObject({ prompt: 'login consent' });
  });

  test('prompt=none returns to the return address signed out, without an error page', async () => {
    await start();
    const page = await browser.go('/auth/login?prompt=none&return_to=%2F%3Fsilent');
    expect([page.status, page.url]).toEqual([200, `${world.origin}/?silent`]);
    expect((await browser.fetch('/auth/session')).json()).toEqual({ authenticated: false });
  });
});

describe('errors of the provider', () => {
  async function returnWith(
    parameters: Readonly<Record<string, string>>,
    address = '/auth/login?return_to=%2F%3Fdeep',
  ) {
    const { location } = (await browser.step(address)).headers;
    const state = new URL(location!).searchParams.get('state')!;
    const query = new URLSearchParams({ ...parameters, state, iss: world.provider.issuer });
    return browser.step(`/auth/callback?${query}`, { from: world.provider.issuer });
  }

  test('authentication_expired (Keycloak) starts the login again, once', async () => {
    await start();
    const expired = { error: 'temporarily_unavailable', error_description: 'authentication_expired' };
    const again = await returnWith(expired);
    expect(again.headers.location).toMatch(/\/auth\?/);
    const state = new URL(again.headers.location!).searchParams.get('state')!;
    const query = new URLSearchParams({ ...expired, state, iss: world.provider.issuer });
    const second = await browser.step(`/auth/callback?${query}`);
    expect(second.status).toBeGreaterThanOrEqual(400);
    expect(second.text).toContain('href="/auth/login?return_to=%2F%3Fdeep"');
  });

  test.each(['temporarily_unavailable', 'server_error'])('%s is 503, and is logged whole', async (error) => {
    await start();
    const page = await returnWith({ error });
    expect(page.status).toBe(503);
    expect(world.latchkey.logLines.join('')).toContain(error);
  });

  test('every failure page leads back to where the login would have led', async () => {
    await start();
    for (const error of ['invalid_request', 'unauthorized_client'])
      expect((await returnWith({ error })).text).toContain('href="/auth/login?return_to=%2F%3Fdeep"');
  });

  test('a declined step-up does not say that the user is signed out', async () => {
    await start();
    await world.signIn(browser);
    const { headers } = await returnWith({ error: 'access_denied' }, '/auth/login?scope=read:data');
    const page = await browser.step(headers.location!);
    expect(page.text).toMatch(/role="status"><p>You didn&#39;t give Latchkey permission for: read:data/);
    expect(page.text).toMatch(/<a class="button" href="[^"]*\/profile">Continue/);
    expect((await browser.step(headers.location!)).headers.location).toBe(`${world.origin}/profile`);
    expect((await browser.fetch('/auth/session')).json()).toMatchObject({ authenticated: true });
  });

  test('a declined step-up is not told to whom it does not concern', async () => {
    await start();
    await world.signIn(browser);
    const { headers } = await returnWith({ error: 'access_denied' }, '/auth/login?scope=read:data');
    await browser.jar.store.removeCookie('localhost', '/', cookieNames(world.origin).session);
    const { text } = await browser.step(headers.location!);
    expect(text).not.toContain('>Continue');
    expect(text).toContain('href="/auth/login?return_to=%2Fprofile"');
  });

  test('an error without a state is logged with its code, and the page does not say that anything has expired', async () => {
    await start();
    const page = await browser.step(
      '/auth/callback?error=unauthorized_client&error_description=Not+registered',
    );
    expect([page.status, /Sign-in failed/.test(page.text)]).toEqual([400, true]);
    expect(world.latchkey.logLines.join('')).toContain(
      'without a state: unauthorized_client: Not registered',
    );
    const denied = await browser.step('/auth/callback?error=access_denied');
    expect([denied.status, /You are not signed in/.test(denied.text)]).toEqual([403, true]);
  });

  test('an invalid callback of a stranger is one log line without a stack trace', async () => {
    await start();
    const before = world.latchkey.logLines.length;
    await browser.step('/auth/callback?code=x&state=forged');
    const lines = world.latchkey.logLines
      .slice(before)
      .filter((line) => !/"msg":"(request completed|audit)"/.test(line));
    expect(lines).toHaveLength(1);
    expect(lines[0]).not.toContain('stack');
  });

  test('a wrong client secret tells the user that the setup is wrong, and the operator what to check', async () => {
    await start({ OAUTH2_CLIENT_SECRET: 'not-the-secret-of-this-client' });
    const page = await world.signIn(browser);
    expect([page.status, /not set up correctly/.test(page.text)]).toEqual([503, true]);
    expect(world.latchkey.logLines.join('')).toContain('check OAUTH2_CLIENT_ID and OAUTH2_CLIENT_SECRET');
  });
});
