import type { Page } from 'playwright-core';
import { expectAccessible } from '../support/accessibility.ts';
import { visit } from '../support/chromium.ts';
import { createWorld, type World } from '../support/world.ts';
import { signIn, signInAtProvider } from './support/sign-in.ts';

const accessTokenSeconds = 6;

let world: World;
beforeAll(async () => {
  world = await createWorld({
    accessTokenSeconds,
    env: { OAUTH2_SCOPES: 'openid profile read:profile read:data' },
  });
});
afterEach(() => world.providerFaults.set(undefined));
afterAll(() => world.close());

const refreshes = () => world.grants.filter((each) => each === 'refresh_token').length;
const panelOf = (page: Page) => page.getByRole('region', { name: 'Your access' });
const barOf = async (page: Page) => Number(await panelOf(page).locator('meter').getAttribute('value'));
const issuedAt = (page: Page) => panelOf(page).locator('time[data-issued]').getAttribute('datetime');

test('the bar runs down to the end, and shows the refresh when another page has it done', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  const first = await issuedAt(page);
  const full = await barOf(page);
  expect(full).toBeGreaterThan(0);
  await panelOf(page)
    .getByText(/valid for \d seconds? more/)
    .waitFor();
  await panelOf(page).getByText('the next call renews it').waitFor();
  expect(await barOf(page)).toBe(0);
  const before = refreshes();

  const other = await alice.openTab('/');
  await other.evaluate("fetch('/api/profile').then((answer) => answer.status)");
  await page.bringToFront();
  await panelOf(page).getByRole('status').filter({ hasText: 'Your access was renewed' }).waitFor();
  expect(refreshes()).toBe(before + 1);
  expect(await issuedAt(page)).not.toBe(first);
  expect(await barOf(page)).toBeGreaterThan(0);
});

test('the browser counts by itself, however wrong its clock is', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await page.addInitScript('{ const now = Date.now; Date.now = () => now() - 86_400_000; }');
  await signIn(page);
  await panelOf(page)
    .getByText(/valid for \d seconds? more/)
    .waitFor();
  await page.getByRole('button', { name: 'Renew access' }).click();
  await panelOf(page).getByRole('status').filter({ hasText: 'Your access was renewed' }).waitFor();
  await panelOf(page)
    .getByText(/valid for \d seconds? more/)
    .waitFor();
});

test('access is renewed without a reload, and the button keeps the focus', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  await page.evaluate("document.body.dataset.stays = 'yes'");
  const before = refreshes();
  await page.getByRole('button', { name: 'Renew access' }).click();
  await panelOf(page).getByRole('status').filter({ hasText: 'Your access was renewed' }).waitFor();
  expect(refreshes()).toBe(before + 1);
  expect(await page.locator('body[data-stays]').count()).toBe(1);
  expect(await page.evaluate('document.activeElement.textContent')).toBe('Renew access');
  await expectAccessible(page);
});

test('a renewal in one tab is seen in the other', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  const other = await alice.openTab('/profile');
  await page.getByRole('button', { name: 'Renew access' }).click();
  await panelOf(other).getByRole('status').filter({ hasText: 'Your access was renewed' }).waitFor();
});

test('while the provider is away the renewal is explained, and works later', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  world.providerFaults.set({ path: /^\/token$/, response: { status: 503 } });
  alice.expectStatus(503);
  await page.getByRole('button', { name: 'Renew access' }).click();
  await panelOf(page).getByRole('status').filter({ hasText: 'You are still signed in' }).waitFor();
});

test('without script the button leads to the page that says it was renewed', async () => {
  const alice = await visit(world, { javaScriptEnabled: false });
  const page = await alice.openTab();
  await signIn(page);
  expect(await barOf(page)).toBeGreaterThan(0);
  await page.getByRole('button', { name: 'Renew access' }).click();
  await page.getByText('Your access was renewed').waitFor();
});

test('a scope that was not granted is greyed, and granted from there', async () => {
  const bob = await visit(world);
  const page = await bob.openTab();
  await page.goto('/auth/login');
  await signInAtProvider(page, 'bob');
  const offered = page.getByRole('listitem').filter({ hasText: 'read:data' });
  await offered.getByRole('checkbox').check(); // "don't allow"
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.waitForURL('/profile');
  const scope = (name: string) => panelOf(page).getByRole('listitem').filter({ hasText: name });
  for (const missing of ['read:data', 'write:data']) await scope(missing).getByText('not granted').waitFor();
  expect(await scope('read:profile').getByRole('link').count()).toBe(0);
  await expectAccessible(page);

  await page.getByRole('link', { name: 'Grant read:data' }).click(); // declined a moment ago
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.waitForURL('/profile');
  await scope('write:data').getByText('not granted').waitFor();
  expect(await scope('read:data').getByRole('link').count()).toBe(0);
  await page.getByRole('link', { name: 'Grant write:data' }).click(); // a route needs it, no login asks for it
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.waitForURL('/profile');
  expect(await panelOf(page).getByText('not granted').count()).toBe(0);
});
