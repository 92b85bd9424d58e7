import { Browser } from '../support/browser.ts';
import { createWorld, type World } from '../support/world.ts';

const publicOrigin = 'https://app.example.test';

describe('behind a TLS-terminating proxy', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({ publicOrigin, env: { TRUST_PROXY: 'loopback' } });
  });
  afterAll(() => world.close());
  const browserBehind = (headers: Record<string, string>) =>
    new Browser(publicOrigin, undefined, { to: world.latchkey.origin, headers });

  test('a user signs in and out with Secure __Host-Http- cookies', async () => {
    const browser = browserBehind({ host: 'app.example.test', 'x-forwarded-proto': 'https' });
    await browser.step('/auth/login');
    const loginCookie = await browser.loginCookie();
    const page = await world.signIn(browser);
    expect((await browser.loginCookie())?.split('.')[0]).toBe(loginCookie ?? 'none');
    expect(page.url).toBe(`${publicOrigin}/profile`);
    expect(page.text).toContain('Alice Liddell');
    expect(page.headers['strict-transport-security']).toContain('max-age=');
    const setCookies = browser.exchanges.flatMap(({ url, response: got }) =>
      url.startsWith(publicOrigin) ? (JSON.parse(got.split('\n')[1]!)['set-cookie'] ?? []) : [],
    );
    expect(setCookies.some((each: string) => each.startsWith('__Host-Http-latchkey='))).toBe(true);
    for (const each of setCookies) {
      expect(each).toMatch(
        /^__Host-Http-latchkey(-login|-flash)?=.*; Path=\/; .*HttpOnly; Secure; SameSite=Lax$/,
      );
      expect(each).not.toMatch(/domain=/i);
    }
    expect((await browser.fetch('/api/profile')).status).toBe(200);
    const signedOut = await browser.step('/auth/logout', { method: 'POST', from: publicOrigin });
    expect(signedOut.status).toBe(200);
    expect(await browser.sessionCookie()).toBeUndefined();
  });

  test('the public origin comes from the configuration, not from Host or X-Forwarded-Host', async () => {
    const browser = browserBehind({
      host: 'evil.example',
      'x-forwarded-host': 'evil.example',
      'x-forwarded-proto': 'https',
    });
    const login = await browser.step('/auth/login?return_to=/profile');
    expect(new URL(login.headers.location!).searchParams.get('redirect_uri')).toBe(
      `${publicOrigin}/auth/callback`,
    );
    expect((await browser.step('/profile')).headers.location).toBe(
      `${publicOrigin}/auth/login?return_to=%2Fprofile`,
    );
    expect((await browser.fetch('/api/profile')).text).not.toContain('evil.example');
  });

  test.each([
    ['X-Forwarded-Proto: HTTPS', { 'x-forwarded-proto': 'HTTPS' }],
    ['X-Forwarded-Proto: https, http', { 'x-forwarded-proto': 'https, http' }],
    ['X-Forwarded-Proto: wss', { 'x-forwarded-proto': 'wss' }],
    ['Forwarded: proto=https', { forwarded: 'for=192.0.2.1;Proto=https' }],
    [
      'Forwarded: proto="HTTPS"',
      { forwarded: 'proto="HTTPS";for="[2001:db8::1]:1", for=10.0.0.1;proto=http' },
    ],
    ['X-Forwarded-Ssl: on', { 'x-forwarded-ssl': 'on' }],
    ['X-Forwarded-Scheme: https', { 'x-forwarded-scheme': 'https' }],
    ['Front-End-Https: On', { 'front-end-https': 'On' }],
    ['an empty X-Forwarded-Proto', { 'x-forwarded-proto': '' }],
    ['nothing about the scheme', {}],
  ])('a user signs in when the proxy sends %s', async (_what, headers) => {
    const browser = browserBehind({ host: 'app.example.test', ...headers });
    expect((await world.signIn(browser)).text).toContain('Alice Liddell');
  });

  test.each([
    ['X-Forwarded-Proto: http', { 'x-forwarded-proto': 'http' }],
    ['Forwarded: proto=http', { forwarded: 'proto=http' }],
    ['both headers, that say different things', { 'x-forwarded-proto': 'http', forwarded: 'proto=https' }],
  ])(
    'when the proxy sends %s, the login fails before the user is at the provider, and the log names the header',
    async (_what, headers) => {
      const browser = browserBehind({ host: 'app.example.test', ...headers });
      world.latchkey.logLines.length = 0;
      const page = await browser.step('/auth/login');
      expect([page.status, page.headers.location]).toEqual([500, undefined]);
      expect(world.latchkey.logLines.join()).toContain('X-Forwarded-Proto');
    },
  );
});
