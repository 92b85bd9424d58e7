import { Browser } from '../support/browser.ts';
import { createWorld, type World } from '../support/world.ts';

const publicOrigin = 'https://app.example.test';

describe('behind a proxy that ends TLS', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({ publicOrigin, env: { TRUST_PROXY: 'loopback' } });
  });
  afterAll(() => world.close());
  const browserBehind = (headers: Record<string, string>) =>
    new Browser(publicOrigin, undefined, { to: world.latchkey.origin, headers });

  test('a person signs in and out, with cookies that are secure and tied to this host', async () => {
    const browser = browserBehind({ host: 'app.example.test', 'x-forwarded-proto': 'https' });
    const page = await world.signIn(browser);
    expect(page.url).toBe(`${publicOrigin}/profile`);
    expect(page.text).toContain('alice');
    expect(page.headers['strict-transport-security']).toContain('max-age=');
    const set = browser.exchanges.flatMap(({ url, response }) =>
      url.startsWith(publicOrigin) ? (JSON.parse(response.split('\n')[1]!)['set-cookie'] ?? []) : [],
    );
    expect(set.some((each: string) => each.startsWith('__Host-latchkey='))).toBe(true);
    for (const each of set)
      expect(each).toMatch(/^__Host-latchkey(-login)?=.*; Path=\/; .*HttpOnly; Secure; SameSite=Lax$/);
    expect((await browser.fetch('/api/profile')).status).toBe(200);
    const out = await browser.step('/auth/logout', { method: 'POST', from: publicOrigin });
    expect(out.status).toBe(303);
    expect(await browser.cookie('__Host-latchkey')).toBeUndefined();
  });

  test('the public origin comes from the configuration, whatever Host and X-Forwarded-Host say', async () => {
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
      `${publicOrigin}/login?return_to=%2Fprofile`,
    );
    expect((await browser.fetch('/api/profile')).text).not.toContain('evil.example');
  });

  test('a proxy that does not say https ends in an error that names it in the log, not in a lost cookie', async () => {
    const browser = browserBehind({ host: 'app.example.test' });
    const page = await world.signIn(browser);
    expect(page.status).toBe(500);
    expect(world.latchkey.logLines.join()).toContain('X-Forwarded-Proto: https');
  });
});
