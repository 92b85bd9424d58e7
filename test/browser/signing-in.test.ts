import type { Page } from 'playwright-core';
import { visit } from '../support/chromium.ts';
import { createWorld, type World } from '../support/world.ts';
import { signIn, signInAtProvider, waitForProfile } from './support/sign-in.ts';

let world: World;
beforeAll(async () => {
  world = await createWorld({ env: { OAUTH2_SCOPES: 'openid profile read:profile' } });
});
afterAll(() => world.close());

async function allow(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Allow' }).click();
}

test('a user who denies consent sees an explanation, is not signed in, and can try again', async () => {
  const bob = await visit(world);
  const page = await bob.openTab('/auth/login');
  await signInAtProvider(page, 'bob');
  await page.getByRole('button', { name: 'Deny' }).click();
  await page.getByText('The sign-in was cancelled').waitFor();
  expect(page.url()).toBe(`${world.origin}/auth/sign-in?return_to=%2Fprofile`);
  expect(await (await bob.context.request.get('/auth/session')).json()).toEqual({ authenticated: false });

  await page.getByRole('link', { name: /Sign in with/ }).click();
  await allow(page);
  await waitForProfile(page, 'bob');
});

test('a user who cancels at the provider comes back to an explanation and is not signed in', async () => {
  const bob = await visit(world);
  const page = await bob.openTab('/auth/login');
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByText('The sign-in was cancelled').waitFor();
});

test('after a sign-in that has failed for good, the address bar keeps nothing of the provider', async () => {
  const bob = await visit(world);
  bob.expectStatus(400);
  const page = await bob.openTab('/auth/callback?code=secret&state=forged');
  await page.waitForURL(`${world.origin}/auth/sign-in`);
  await page.getByRole('heading', { name: "Signing in didn't work" }).waitFor();
});

test('a link to a page that requires sign-in leads to that page, with its query, after signing in', async () => {
  const alice = await visit(world);
  const page = await alice.openTab('/profile?show=access&of=me%26you');
  await signInAtProvider(page);
  await allow(page);
  await waitForProfile(page);
  expect(page.url()).toBe(`${world.origin}/profile?show=access&of=me%26you`);
});

test('a missing permission is requested when it is needed, without the ones already granted', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  alice.expectStatus(403);
  await page.goto('/api/data');
  await page.getByRole('link', { name: /^Continue with/ }).click();
  const requested = page.getByRole('listitem').filter({ hasText: 'see your list' });
  await requested.waitFor();
  await allow(page);
  await waitForProfile(page);
  const { scope } = await (await alice.context.request.get('/auth/session')).json();
  expect(scope).toEqual(['openid', 'profile', 'read:profile', 'read:data']);
  await page.goto('/api/data');
  await page.getByText('Paint the roses red').waitFor();
});

test('double clicks on sign-in and refresh leave the user signed in', async () => {
  const alice = await visit(world);
  const page = await alice.openTab('/auth/sign-in');
  await page.getByRole('link', { name: /Sign in with/ }).dblclick();
  await signInAtProvider(page);
  await allow(page); // once: a second form for the same consent gets an error page of the provider
  await waitForProfile(page);
  await page.goto('/auth/developer');
  await page.getByRole('button', { name: 'Renew access' }).dblclick();
  await page.getByText('Your access was renewed').first().waitFor();
  expect((await alice.context.request.get('/api/profile')).status()).toBe(200);
});

test('when the second of two tabs finishes signing in first, each still ends at its own page', async () => {
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

/** Stops the tab before it opens the callback URL and returns that URL. Playwright's routes do not see redirects. */
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

test('twenty tabs open their callbacks in quick succession, the last tab first, and each ends at its own page', async () => {
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
    } else await expect(login).rejects.toThrow('ERR_ABORTED'); // already signed in: the provider redirects at once
    tabs.push(page);
    callbacks.push(await callback);
  }
  await Promise.all([...tabs.entries()].toReversed().map(([tab, page]) => page.goto(callbacks[tab]!)));
  expect(tabs.map((page) => page.url())).toEqual(tabs.map((_page, tab) => `${world.origin}/?tab=${tab}`));
  expect((await alice.context.request.get('/api/profile')).status()).toBe(200);
});
