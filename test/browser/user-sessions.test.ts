import type { Page } from 'playwright-core';
import { expectAccessible } from '../support/accessibility.ts';
import { visit } from '../support/chromium.ts';
import { createWorld, type World } from '../support/world.ts';
import { sessionIdOf } from './support/page-case.ts';
import { signIn, waitForProfile } from './support/sign-in.ts';

let world: World;
beforeAll(async () => {
  world = await createWorld({ env: { OAUTH2_SCOPES: 'openid profile read:profile read:data' } });
});
afterAll(() => world.close());

const agent = {
  userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0',
} as const;
const sessionsOf = (page: Page) => page.getByRole('region', { name: /Your sessions|Ihre Sitzungen/ });
/** Simulates the user coming back to the window. */
async function focusWindow(page: Page): Promise<void> {
  await page.waitForLoadState();
  await page.evaluate("window.dispatchEvent(new Event('focus'))");
}

/** Alice in two browsers, the second of which is a Firefox, by its user agent. */
async function openTwoBrowsers(options: NonNullable<Parameters<typeof visit>[1]> = {}) {
  const [here, there] = [await visit(world, options), await visit(world, agent)];
  const [mine, other] = [await here.openTab(), await there.openTab()];
  await signIn(other);
  await signIn(mine);
  return { mine, other, there };
}

test('a user signs out another browser, whose open tab says why and leads back to the same page', async () => {
  const { mine, other } = await openTwoBrowsers();
  await other.goto('/profile?here=1');
  await expectAccessible(mine);
  const row = sessionsOf(mine).getByRole('listitem').filter({ hasText: 'Firefox on Linux' });
  await expect(row.getByRole('button', { name: 'Sign out Firefox on Linux' }).count()).resolves.toBe(1);
  await row.getByRole('button', { name: 'Sign out' }).click();
  await mine.getByRole('status').filter({ hasText: 'That browser is now signed out.' }).waitFor();

  await focusWindow(other);
  await other
    .getByRole('alert')
    .filter({ hasText: 'You were signed out here from another browser.' })
    .waitFor();
  await expectAccessible(other);
  await other.getByRole('link', { name: 'Sign in again' }).click();
  await other.getByRole('button', { name: 'Allow' }).click();
  await waitForProfile(other);
  expect(other.url()).toBe(`${world.origin}/profile?here=1`);
});

test('a user signs out everywhere else; a reload in another browser explains it on the sign-in page', async () => {
  const { mine, other } = await openTwoBrowsers();
  await sessionsOf(mine).getByRole('button', { name: 'Sign out everywhere else' }).click();
  await mine.getByRole('status').filter({ hasText: 'signed out everywhere else' }).waitFor();
  expect(await sessionsOf(mine).getByRole('listitem').count()).toBe(1);
  await other.reload();
  await other.getByRole('status').filter({ hasText: 'signed out here from another browser' }).waitFor();
  await expectAccessible(other);
});

test('without JavaScript, and in German, the same forms sign out other browsers', async () => {
  const { mine, other } = await openTwoBrowsers();
  const cookies = await mine.context().cookies();
  const visitor = await visit(world, { javaScriptEnabled: false, locale: 'de' });
  await visitor.context.addCookies(cookies);
  const page = await visitor.openTab('/profile');
  await sessionsOf(page).getByText('Dieser Browser').waitFor();
  await sessionsOf(page).getByRole('button', { name: 'Überall sonst abmelden' }).click();
  await page.getByText('Sie sind jetzt überall sonst abgemeldet.').waitFor();
  await focusWindow(other);
  await other.getByRole('alert').filter({ hasText: 'You were signed out here' }).waitFor();
});

test.each([
  ['administrator', 'An administrator of'],
  ['provider', 'You were signed out by'],
  ['limit', 'too many other devices'],
] as const)('a tab whose session was ended by %s says so', async (by, text) => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  const id = await sessionIdOf(page, world);
  await world.latchkey.deps.tokenStore.take(id, { kind: 'ended', by });
  await focusWindow(page);
  await page.getByRole('alert').filter({ hasText: text }).waitFor();

  alice.expectStatus(401);
  await page.goto('/api/data');
  await page.getByRole('heading', { name: 'Please sign in' }).waitFor();
  await page.getByText(text).waitFor();
  await expectAccessible(page);
});
