import type { Page } from 'playwright-core';
import { visit } from '../support/chromium.ts';
import { createWorld, type World } from '../support/world.ts';
import { profileOf, signIn } from './support/sign-in.ts';

const accessTokenSeconds = 5;

let world: World;
beforeAll(async () => {
  world = await createWorld({
    accessTokenSeconds,
    env: { OAUTH2_SCOPES: 'openid profile read:profile read:data' },
  });
});
afterAll(() => world.close());

const refreshes = () => world.grants.filter((each) => each === 'refresh_token').length;

/** Epoch milliseconds of the access token's end, as the page has it. */
async function endOnThePage(page: Page): Promise<number> {
  return Date.parse((await page.locator('time[data-left-ms]').getAttribute('datetime')) ?? '');
}

test('the page counts down to the end of the access token, the next call renews it, and the page moves on', async () => {
  const alice = await visit(world);
  const page = await alice.tab();
  await signIn(page);
  const end = await endOnThePage(page);
  const before = refreshes();
  await page.getByText(/\d s from now/).waitFor();
  await page.getByText('the next call renews it').waitFor();
  expect(refreshes()).toBe(before);

  await page.getByRole('button', { name: 'Call the API' }).click();
  await page.getByText('Paint the roses red').waitFor();
  expect(refreshes()).toBe(before + 1);
  await page.reload();
  expect(await endOnThePage(page)).toBeGreaterThan(end);
});

test('ten tabs of one person renew an access token that has ended once, and all show the profile', async () => {
  const alice = await visit(world);
  const tabs: Page[] = [];
  for (let tab = 0; tab < 10; tab += 1) tabs.push(await alice.tab());
  await signIn(tabs[0]!);
  world.clock.advance(accessTokenSeconds);
  const before = refreshes();
  await Promise.all(tabs.map((each) => each.goto('/auth/logout'))); // a page that needs no token
  expect(refreshes()).toBe(before);
  const calls = tabs.map((each) =>
    each.evaluate<number>("fetch('/api/profile').then((answer) => answer.status)"),
  );
  expect(await Promise.all(calls)).toEqual(tabs.map(() => 200));
  expect(refreshes()).toBe(before + 1);
});

test('while the provider is away a renewal is put off, and the person stays signed in', async () => {
  const alice = await visit(world);
  const page = await alice.tab();
  await signIn(page);
  world.providerFaults.set({ path: /^\/token$/, answer: { status: 503 } });
  await page.getByRole('button', { name: 'Renew access' }).click();
  await page.getByRole('status').filter({ hasText: 'You are still signed in' }).waitFor();
  await profileOf(page);
  world.providerFaults.set(undefined);
});
