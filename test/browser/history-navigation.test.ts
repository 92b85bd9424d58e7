import type { Page } from 'playwright-core';
import { visit } from '../support/chromium.ts';
import { createWorld, type World } from '../support/world.ts';
import { signIn, signInAtProvider, signInOnPages, waitForProfile } from './support/sign-in.ts';

let world: World;
beforeAll(async () => {
  world = await createWorld({ env: { OAUTH2_SCOPES: 'openid profile read:profile read:data' } });
});
afterAll(() => world.close());

/** Takes one step in the history. It waits for no load, because a page from the back/forward cache has none. */
async function go(page: Page, direction: 'goBack' | 'goForward'): Promise<void> {
  await page[direction]({ waitUntil: 'commit' });
  await page.getByRole('heading', { level: 1 }).waitFor();
}

test('Back, Forward and Reload work on every page of the sign-in', async () => {
  const alice = await visit(world);
  const page = await alice.openTab('/');
  const providerLink = page.getByRole('link', { name: /Sign in with/ });
  await page.reload();
  await page.goto('/auth/sign-in');
  await page.reload();
  await go(page, 'goBack');
  await page.waitForURL(`${world.origin}/`);
  await go(page, 'goForward');
  await page.waitForURL(/sign-in$/);
  await go(page, 'goBack');
  await providerLink.click();
  await page.getByLabel('Password').waitFor();
  await go(page, 'goBack');
  await providerLink.waitFor();
  await go(page, 'goForward');
  await page.reload();
  await signInAtProvider(page);
  await page.getByRole('button', { name: 'Allow' }).waitFor();
  await page.reload();
  await page.getByRole('button', { name: 'Allow' }).click();
  await waitForProfile(page);
  await page.reload();
  await waitForProfile(page);
});

test("after signing in, Back skips the provider's expired pages and shows the home page, with the user still signed in", async () => {
  const alice = await visit(world);
  const page = await alice.openTab('/');
  await signInOnPages(page);
  alice.expectStatus(400); // the provider's own pages have expired
  for (let steps = 0; steps < 5 && page.url() !== `${world.origin}/`; steps += 1) await go(page, 'goBack');
  await page.getByRole('link', { name: 'Continue as Alice Liddell' }).click();
  await page.waitForURL(/\/profile$/);
  await waitForProfile(page);
});

test('opening the callback URL again, as a restored tab does, leads to the page the login was for', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  const callback = page.waitForRequest((request) => request.url().includes('/auth/callback'));
  await signInOnPages(page);
  await page.goto((await callback).url());
  await waitForProfile(page);
  expect(page.url()).toBe(`${world.origin}/profile`);
});

test('reloading the page after a refresh does not refresh again', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page, 'alice', '/auth/developer');
  await page.getByRole('button', { name: 'Renew access' }).click();
  await page.getByRole('status').waitFor();
  const grants = world.grants.length;
  await page.reload();
  expect(await page.getByRole('status').filter({ hasText: 'renewed' }).count()).toBe(0);
  expect(world.grants).toHaveLength(grants);
});

test("after signing out, Back does not show the previous user's pages", async () => {
  const alice = await visit(world);
  const page = await alice.openTab('/');
  await signIn(page);
  await page.goto('/');
  await page.getByRole('link', { name: 'Continue as Alice Liddell' }).click();
  await page.waitForURL(/\/profile$/);
  await waitForProfile(page);
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await page.getByRole('link', { name: 'Sign in again' }).waitFor();

  const paths: string[] = [];
  for (let steps = 0; steps < 3; steps += 1) {
    await go(page, 'goBack');
    paths.push(new URL(page.url()).pathname);
    expect(await page.getByText('Alice').count()).toBe(0);
  }
  expect(paths).toContain('/auth/sign-in'); // in place of the profile
});
