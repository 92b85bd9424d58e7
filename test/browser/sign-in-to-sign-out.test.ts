import { visit } from '../support/chromium.ts';
import { createWorld, type World } from '../support/world.ts';
import { signInAtProvider, waitForProfile } from './support/sign-in.ts';

const scopes = 'openid profile email read:profile read:data write:data';

describe.each([
  ['with default settings', {}, {}],
  ['without JavaScript', { javaScriptEnabled: false }, {}],
  ['with a Strict session cookie', {}, { SESSION_COOKIE_SAMESITE: 'strict' }],
  [
    'with a Strict session cookie and no JavaScript',
    { javaScriptEnabled: false },
    { SESSION_COOKIE_SAMESITE: 'strict' },
  ],
])('from sign-in to sign-out %s', (_setup, browser, env) => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({ env: { OAUTH2_SCOPES: scopes, ...env } });
  });
  afterAll(() => world.close());

  test('a user signs in, sees their profile, renews access, calls the API and signs out', async () => {
    const alice = await visit(world, browser);
    const page = await alice.openTab('/');
    await page.getByRole('link', { name: /Sign in with/ }).click();
    await signInAtProvider(page);
    await page.getByRole('button', { name: 'Allow' }).click();
    await waitForProfile(page);
    expect(page.url()).toBe(`${world.origin}/profile`);

    await page.getByText('Technical details').click();
    await page.getByRole('button', { name: 'Renew access' }).click();
    await page.getByRole('status').filter({ hasText: 'Your access was renewed.' }).waitFor();
    expect(world.grants.filter((each) => each === 'refresh_token')).toHaveLength(1);

    await page.goto('/auth/developer');
    await page.getByText('GET /api/data').click();
    const opensTab = 'javaScriptEnabled' in browser;
    const opened = opensTab ? alice.context.waitForEvent('page') : undefined;
    await page.getByRole('button', { name: 'Send GET /data' }).click();
    await ((await opened) ?? page).getByText('Paint the roses red').waitFor();
    await page.goto('/profile');

    const cookies = await alice.context.cookies(world.origin);
    await page.getByRole('button', { name: 'Sign out', exact: true }).click();
    await page.getByRole('heading', { name: 'Sign out of Demo ID too?' }).waitFor();
    expect(new URL(page.url()).origin).toBe(world.provider.issuer);
    await page.getByRole('button', { name: 'Sign out', exact: true }).click();
    await page.getByRole('main').getByRole('link', { name: 'Sign in' }).waitFor();
    expect(page.url()).toBe(`${world.origin}/auth/signed-out`);

    await alice.context.addCookies(cookies);
    expect((await alice.context.request.get('/api/profile')).status()).toBe(401);
    await page.goto('/profile');
    await page.getByRole('link', { name: /Sign in with/ }).waitFor();
  });
});

describe('a script on the page', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
  });
  afterAll(() => world.close());

  test('calls the API without ever seeing a token, and gets a sign-in URL after the session has ended', async () => {
    const alice = await visit(world);
    const page = await alice.openTab('/auth/login?return_to=/');
    await signInAtProvider(page);
    await page.getByRole('button', { name: 'Allow' }).click();
    await page.waitForURL(`${world.origin}/`);

    const call = (path: string, body?: object) =>
      page.evaluate(
        async ({ path, body }) => {
          const headers = { 'content-type': 'application/json' };
          const response = await (body ? fetch(path, { method: 'POST', headers, body }) : fetch(path));
          return { status: response.status, body: await response.json() };
        },
        { path, body: body && JSON.stringify(body) },
      );
    expect(await call('/api/profile')).toMatchObject({ status: 200, body: { sub: 'alice' } });
    expect(await call('/api/data', { title: 'Ask the caterpillar' })).toMatchObject({ status: 201 });
    expect(
      await page.evaluate('document.cookie + JSON.stringify([{ ...localStorage }, { ...sessionStorage }])'),
    ).toBe('[{},{}]');

    await page.evaluate(() => fetch('/auth/logout', { method: 'POST' }));
    alice.expectStatus(401);
    expect(await call('/api/profile')).toMatchObject({
      status: 401,
      body: { error: 'login_required', login_url: `${world.origin}/auth/login?return_to=%2F` },
    });
  });
});
