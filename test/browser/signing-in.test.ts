import type { Page } from 'playwright-core';
import { visit } from '../support/chromium.ts';
import { createWorld, type World } from '../support/world.ts';
import { profileOf, signIn, signInAtProvider } from './support/sign-in.ts';

let world: World;
beforeAll(async () => {
  world = await createWorld({ env: { OAUTH2_SCOPES: 'openid profile read:profile' } });
});
afterAll(() => world.close());

async function allow(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Allow' }).click();
}

test('who declines is told so kindly, is not signed in, and may try again', async () => {
  const bob = await visit(world);
  const page = await bob.openTab('/auth/login');
  await signInAtProvider(page, 'bob');
  bob.expectStatus(403);
  await page.getByRole('button', { name: 'Deny' }).click();
  await page.getByText('You chose not to give access').waitFor();
  expect(await (await bob.context.request.get('/auth/session')).json()).toEqual({ authenticated: false });

  await page.getByRole('link', { name: 'Sign in again' }).click();
  await page.getByRole('link', { name: /Sign in with/ }).click();
  await allow(page);
  await profileOf(page, 'bob');
});

test('who cancels at the sign-in page is back here, not signed in', async () => {
  const bob = await visit(world);
  const page = await bob.openTab('/auth/login');
  bob.expectStatus(403);
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByText('You chose not to give access').waitFor();
});

test('a link into a page that needs a login leads, after it, to that page with its query', async () => {
  const alice = await visit(world);
  const page = await alice.openTab('/profile?show=access&of=me%26you');
  await page.getByRole('link', { name: /Sign in with/ }).click();
  await signInAtProvider(page);
  await allow(page);
  await profileOf(page);
  expect(page.url()).toBe(`${world.origin}/profile?show=access&of=me%26you`);
});

test('a permission that is missing is asked for when it is needed, and only that one', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  alice.expectStatus(403);
  await page.goto('/api/data');
  await page.getByRole('link', { name: 'Give this permission' }).click();
  const asked = page.getByRole('listitem').filter({ hasText: 'read:data' });
  await asked.waitFor();
  await allow(page);
  await profileOf(page);
  const { scope } = await (await alice.context.request.get('/auth/session')).json();
  expect(scope).toEqual(['openid', 'profile', 'read:profile', 'read:data']);
  await page.goto('/api/data');
  await page.getByText('Paint the roses red').waitFor();
});

test('a double click starts no second login and breaks none', async () => {
  const alice = await visit(world);
  const page = await alice.openTab('/login');
  await page.getByRole('link', { name: /Sign in with/ }).dblclick();
  await signInAtProvider(page);
  await page.getByRole('button', { name: 'Allow' }).dblclick();
  await profileOf(page);
  await page.getByRole('button', { name: 'Renew access' }).dblclick();
  await profileOf(page);
  expect((await alice.context.request.get('/api/profile')).status()).toBe(200);
});

test('of two tabs the later may sign in first, and each ends at its own page', async () => {
  const alice = await visit(world);
  const first = await alice.openTab('/auth/login?return_to=/?tab=first');
  const second = await alice.openTab('/auth/login?return_to=/?tab=second');
  await signInAtProvider(second);
  await allow(second);
  await second.waitForURL(`${world.origin}/?tab=second`);
  await signInAtProvider(first);
  await first.waitForURL(`${world.origin}/?tab=first`);
  await second.reload();
  for (const tab of [first, second])
    await tab.getByRole('link', { name: 'Continue as Alice Liddell' }).waitFor();
});

/** The address the provider leads this tab back to, which it does not open: Playwright's routes see no redirects. */
async function stopAtCallback(page: Page): Promise<{ readonly callback: Promise<string> }> {
  const debug = await page.context().newCDPSession(page);
  const callback = new Promise<string>((resolve) => {
    debug.once('Fetch.requestPaused', async ({ requestId, request }) => {
      await debug.send('Fetch.failRequest', { requestId, errorReason: 'Aborted' });
      await debug.detach();
      resolve(request.url);
    });
  });
  await debug.send('Fetch.enable', { patterns: [{ urlPattern: `${world.origin}/auth/callback*` }] });
  return { callback };
}

test('twenty tabs come back from the provider at once, the last first, and each ends at its own page', async () => {
  const alice = await visit(world);
  const tabs: Page[] = [];
  const callbacks: string[] = [];
  for (let tab = 0; tab < 20; tab += 1) {
    const page = await alice.openTab();
    const { callback } = await stopAtCallback(page);
    const login = page.goto(`/auth/login?return_to=/?tab=${tab}`);
    if (tab === 0) {
      await login;
      await signInAtProvider(page);
      await page.getByRole('button', { name: 'Allow' }).click({ noWaitAfter: true });
    } else await expect(login).rejects.toThrow('ERR_ABORTED'); // the provider knows them by now, and leads on
    tabs.push(page);
    callbacks.push(await callback);
  }
  await Promise.all([...tabs.entries()].toReversed().map(([tab, page]) => page.goto(callbacks[tab]!)));
  expect(tabs.map((page) => page.url())).toEqual(tabs.map((_page, tab) => `${world.origin}/?tab=${tab}`));
  expect((await alice.context.request.get('/api/profile')).status()).toBe(200);
});
