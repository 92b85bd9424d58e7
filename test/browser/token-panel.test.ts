import type { Page } from 'playwright-core';
import { expectAccessible } from '../support/accessibility.ts';
import { visit } from '../support/chromium.ts';
import { createWorld, type World } from '../support/world.ts';
import { signIn, signInAtProvider } from './support/sign-in.ts';

const env = { OAUTH2_SCOPES: 'openid profile read:profile read:data' };
const validity = /valid for another \d+\s(second|minute)s?/;

let world: World;
/** Its access tokens are valid for 6 seconds only. */
let fast: World;
beforeAll(async () => {
  world = await createWorld({ env });
  fast = await createWorld({ env, accessTokenSeconds: 6 });
});
afterEach(() => world.providerFaults.set(undefined));
afterAll(async () => {
  await world.close();
  await fast.close();
});

const refreshCount = ({ grants } = world) => grants.filter((each) => each === 'refresh_token').length;
const getPanel = (page: Page) => page.getByRole('region', { name: 'Your access token' });
const getBarValue = async (page: Page) => Number(await getPanel(page).locator('meter').getAttribute('value'));
const getIssuedAt = (page: Page) => getPanel(page).locator('time[data-issued]').getAttribute('datetime');

test('the lifetime bar counts down to zero and resets when another tab causes a refresh', async () => {
  const alice = await visit(fast);
  const page = await alice.openTab();
  await signIn(page, 'alice', '/auth/developer');
  const first = await getIssuedAt(page);
  const full = await getBarValue(page);
  expect(full).toBeGreaterThan(0);
  await getPanel(page).getByText(validity).waitFor();
  await getPanel(page).getByText('renewed automatically the next time').waitFor();
  expect(await getBarValue(page)).toBe(0);
  expect(await getPanel(page).locator('meter').isVisible()).toBe(false); // an empty bar would look like a loss
  const before = refreshCount(fast);

  const other = await alice.openTab('/');
  await other.evaluate("fetch('/api/profile').then((response) => response.status)");
  await page.bringToFront();
  await getPanel(page).getByRole('status').filter({ hasText: 'Your access was renewed' }).waitFor();
  expect(refreshCount(fast)).toBe(before + 1);
  expect(await getIssuedAt(page)).not.toBe(first);
  expect(await getBarValue(page)).toBeGreaterThan(0);
});

test("the countdown is right even if the browser's clock is a day slow", async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await page.addInitScript('{ const now = Date.now; Date.now = () => now() - 86_400_000; }');
  await signIn(page, 'alice', '/auth/developer');
  await getPanel(page).getByText(validity).waitFor();
  await page.getByRole('button', { name: 'Renew access' }).click();
  await getPanel(page).getByRole('status').filter({ hasText: 'Your access was renewed' }).waitFor();
  await getPanel(page).getByText(validity).waitFor();
});

test('the button refreshes the token without a reload and keeps the focus', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page, 'alice', '/auth/developer');
  await page.evaluate("document.body.dataset.stays = 'yes'");
  const before = refreshCount();
  await page.getByRole('button', { name: 'Renew access' }).click();
  await getPanel(page).getByRole('status').filter({ hasText: 'Your access was renewed' }).waitFor();
  expect(refreshCount()).toBe(before + 1);
  expect(await page.locator('body[data-stays]').count()).toBe(1);
  expect(await page.evaluate('document.activeElement.textContent')).toBe('Renew access');
  await expectAccessible(page);
});

test('a refresh in one tab is shown in the other', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page, 'alice', '/auth/developer');
  const other = await alice.openTab('/auth/developer');
  await page.getByRole('button', { name: 'Renew access' }).click();
  await getPanel(other).getByRole('status').filter({ hasText: 'Your access was renewed' }).waitFor();
});

test('the panel explains a failed refresh while the provider is unavailable', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page, 'alice', '/auth/developer');
  world.providerFaults.set({ path: /^\/token$/, response: { status: 503 } });
  alice.expectStatus(503);
  await page.getByRole('button', { name: 'Renew access' }).click();
  await getPanel(page).getByRole('status').filter({ hasText: "You're still signed in" }).waitFor();
});

test('without JavaScript the button leads to a page that confirms the refresh', async () => {
  const alice = await visit(world, { javaScriptEnabled: false });
  const page = await alice.openTab();
  await signIn(page, 'alice', '/auth/developer');
  expect(await getBarValue(page)).toBeGreaterThan(0);
  await page.getByRole('button', { name: 'Renew access' }).click();
  await page.getByText('Your access was renewed').waitFor();
});

test('a scope that was not granted is marked and can be granted from the panel', async () => {
  const bob = await visit(world);
  const page = await bob.openTab();
  await page.goto('/auth/login');
  await signInAtProvider(page, 'bob');
  const offered = page.getByRole('listitem').filter({ hasText: 'see your list' });
  await offered.getByRole('checkbox').uncheck();
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.waitForURL('/profile');
  await page.goto('/auth/developer');
  const scope = (name: string) => getPanel(page).getByRole('listitem').filter({ hasText: name });
  await scope('read:data').getByText('not granted').waitFor();
  await scope('write:data').getByText('not requested yet').waitFor();
  expect(await scope('read:profile').getByRole('link').count()).toBe(0);
  await expectAccessible(page);

  await page.getByRole('link', { name: 'Grant read:data' }).click(); // declined a moment ago
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.waitForURL('/auth/developer');
  await scope('write:data').getByText('not requested yet').waitFor();
  expect(await scope('read:data').getByRole('link').count()).toBe(0);
  await page.getByRole('link', { name: 'Grant write:data' }).click(); // required by a route, not requested by sign-in
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.waitForURL('/auth/developer');
  expect(
    await getPanel(page)
      .getByText(/not (granted|requested)/)
      .count(),
  ).toBe(0);
});
