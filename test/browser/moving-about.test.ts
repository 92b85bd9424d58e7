import type { Page } from 'playwright-core';
import { visit } from '../support/chromium.ts';
import { createWorld, type World } from '../support/world.ts';
import { profileOf, signIn, signInAtProvider } from './support/sign-in.ts';

let world: World;
beforeAll(async () => {
  world = await createWorld({ env: { OAUTH2_SCOPES: 'openid profile read:profile read:data' } });
});
afterAll(() => world.close());

/** One step in the history. A page from the browser's back/forward cache is simply there again: it loads nothing. */
async function go(page: Page, where: 'goBack' | 'goForward'): Promise<void> {
  await page[where]({ waitUntil: 'commit' });
  await page.getByRole('heading', { level: 1 }).waitFor();
}

test('back, forward and reload work on every page of the way in', async () => {
  const alice = await visit(world);
  const page = await alice.openTab('/');
  const toSignIn = page.getByRole('link', { name: 'Sign in' });
  const toProvider = page.getByRole('link', { name: /Sign in with/ });
  await page.reload();
  await toSignIn.click();
  await toProvider.waitFor();
  await page.reload();
  await go(page, 'goBack');
  await toSignIn.waitFor();
  await go(page, 'goForward');
  await toProvider.click();
  await page.getByLabel('Password').waitFor();
  await go(page, 'goBack');
  await toProvider.waitFor();
  await go(page, 'goForward');
  await page.reload();
  await signInAtProvider(page);
  await page.getByRole('button', { name: 'Allow' }).waitFor();
  await page.reload();
  await page.getByRole('button', { name: 'Allow' }).click();
  await profileOf(page);
  await page.reload();
  await profileOf(page);
});

test('after signing in, back leads through pages the provider has closed to ours, which know who is here', async () => {
  const alice = await visit(world);
  const page = await alice.openTab('/');
  await signIn(page);
  alice.expectStatus(400); // the provider's own pages are used up
  for (let steps = 0; steps < 5 && page.url() !== `${world.origin}/`; steps += 1) await go(page, 'goBack');
  await page.getByRole('link', { name: 'Continue as Alice Liddell' }).click();
  await profileOf(page);
});

test('coming back to the callback, from the history or a restored tab, leads to the page it was for', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  const callback = page.waitForRequest((request) => request.url().includes('/auth/callback'));
  await signIn(page);
  await page.goto((await callback).url());
  await profileOf(page);
  expect(page.url()).toBe(`${world.origin}/profile`);
});

test('reloading after access was renewed renews nothing again', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  await page.getByRole('button', { name: 'Renew access' }).click();
  await page.getByRole('status').waitFor();
  const grants = world.grants.length;
  await page.reload();
  await profileOf(page);
  expect(await page.getByRole('status').filter({ hasText: 'renewed' }).count()).toBe(0);
  expect(world.grants).toHaveLength(grants);
});

test('after signing out, back shows no page of who was signed in', async () => {
  const alice = await visit(world);
  const page = await alice.openTab('/');
  await signIn(page);
  await page.goto('/');
  await page.getByRole('link', { name: 'Continue as Alice Liddell' }).click();
  await profileOf(page);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('link', { name: 'Sign in' }).waitFor();

  const seen: string[] = [];
  for (let steps = 0; steps < 3; steps += 1) {
    await go(page, 'goBack');
    seen.push(new URL(page.url()).pathname);
    expect(await page.getByText('Alice').count()).toBe(0);
  }
  expect(seen).toContain('/login'); // in place of the profile
});
