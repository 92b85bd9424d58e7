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
const sessionsOf = (page: Page) =>
  page.getByRole('region', { name: /Where you're signed in|Wo Sie angemeldet sind/ });
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
  await mine.getByRole('status').filter({ hasText: 'Firefox on Linux is now signed out.' }).waitFor();

  // Nobody touches it.
  await other
    .getByRole('alert')
    .filter({ hasText: 'Someone signed you out here from another browser.' })
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
  await other.getByRole('status').filter({ hasText: 'Someone signed you out here' }).waitFor();
  await expectAccessible(other);
});

test('without JavaScript, and in German, the same forms sign out one other browser and all of them', async () => {
  const { mine, other } = await openTwoBrowsers({ locale: 'de' });
  const third = await (await visit(world, { locale: 'de' })).openTab();
  await signIn(third);
  const cookies = await mine.context().cookies();
  const visitor = await visit(world, { javaScriptEnabled: false, locale: 'de' });
  await visitor.context.addCookies(cookies);
  const page = await visitor.openTab('/profile');
  await sessionsOf(page).getByText('Dieser Browser').waitFor();
  await sessionsOf(page).getByRole('button', { name: 'Firefox unter Linux abmelden' }).click();
  await page.getByText('Firefox unter Linux ist jetzt abgemeldet.').waitFor();
  await focusWindow(other);
  await other.getByRole('alert').filter({ hasText: 'Someone signed you out here' }).waitFor();

  await sessionsOf(page).getByRole('button', { name: 'Überall sonst abmelden' }).click();
  await page.getByText('Sie sind jetzt überall sonst abgemeldet.').waitFor();
  await sessionsOf(page).getByText('Sie sind nur in diesem Browser bei Latchkey angemeldet.').waitFor();
  await focusWindow(third);
  await third
    .getByRole('alert')
    .filter({ hasText: 'Jemand hat Sie hier von einem anderen Browser aus abgemeldet.' })
    .waitFor();
  await third.reload();
  await third.getByRole('status').filter({ hasText: 'Jemand hat Sie hier' }).waitFor();
});

test('the buttons of two sessions in browsers of the same name have different descriptions: when each was used', async () => {
  const { mine } = await openTwoBrowsers();
  await signIn(await (await visit(world, agent)).openTab());
  await mine.reload();
  const buttons = sessionsOf(mine).getByRole('button', { name: 'Sign out Firefox on Linux' });
  expect(await buttons.count()).toBe(2);
  for (const button of await buttons.all()) {
    const id = await button.getAttribute('aria-describedby');
    const times = await mine.locator(`#${id}`).textContent();
    expect(times).toMatch(/Signed in.+Last used/s);
    expect(times).not.toMatch(/\d:\d\d:\d\d/); // the last use is known only to a few minutes
  }
});

test.each([
  ['administrator', 'An administrator of'],
  ['provider', 'You were signed out by'],
  ['limit', 'too many other browsers'],
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
  await page.getByRole('heading', { name: "You've been signed out" }).waitFor();
  await page.getByText(text).waitFor();
  await expectAccessible(page);
});
