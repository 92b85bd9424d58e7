import type { Page } from 'playwright-core';
import { expectAccessible } from '../support/accessibility.ts';
import { visit } from '../support/chromium.ts';
import { failAtStep } from '../support/fail-at-step.ts';
import { createWorld, type World } from '../support/world.ts';
import { signIn, signInAtProvider, waitForProfile } from './support/sign-in.ts';

const step: { name: string | undefined } = { name: undefined };
let world: World;
beforeAll(async () => {
  world = await createWorld({
    env: { OAUTH2_SCOPES: 'openid profile read:profile read:data' },
    wrap: ({ tokenStore }) => ({ tokenStore: failAtStep(tokenStore, step) }),
  });
});
afterEach(() => {
  step.name = undefined;
});
afterAll(() => world.close());

const signedOutNotice = (page: Page) => page.getByRole('alert').filter({ hasText: "You've been signed out" });
/** Simulates the user coming back to the window. */
async function focusWindow(page: Page): Promise<void> {
  await page.waitForLoadState(); // the page's script has run
  await page.evaluate("window.dispatchEvent(new Event('focus'))");
}
const sessionResponse = (page: Page) =>
  page.waitForResponse((response) => response.url().endsWith('/auth/session'));

async function signOut(page: Page): Promise<void> {
  await page.goto('/auth/logout');
  await page.getByRole('main').getByRole('button', { name: 'Sign out', exact: true }).click();
  await page.waitForURL((url) => url.origin !== world.origin || url.pathname === '/');
}

test('signing out in one tab shows a notice in the others, with a link that leads back to the same page', async () => {
  const alice = await visit(world);
  const one = await alice.openTab();
  await signIn(one);
  const other = await alice.openTab('/profile?here=1');
  await other.getByLabel('Query').first().fill('typed=1');
  await signOut(one);
  await signedOutNotice(other).waitFor();
  expect(await other.getByLabel('Query').first().inputValue()).toBe('typed=1');
  await expectAccessible(other);

  await other.getByRole('link', { name: 'Sign in again' }).click();
  await other.getByRole('button', { name: 'Allow' }).click(); // still signed in at the provider, but without consent
  await waitForProfile(other);
  expect(other.url()).toBe(`${world.origin}/profile?here=1`);
});

test('signing in in a new tab from the notice keeps what the user entered on the page', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  await page.getByLabel('Query').first().fill('typed=1');
  await alice.context.clearCookies({ name: /^latchkey-\d+$/ });
  await focusWindow(page);
  const opened = alice.context.waitForEvent('page');
  await page.getByRole('link', { name: 'Use a new tab' }).click();
  await waitForProfile(await opened); // still signed in at the provider
  await signedOutNotice(page).waitFor({ state: 'hidden' });
  expect(await page.getByLabel('Query').first().inputValue()).toBe('typed=1');
});

test('the page notices that its session has ended when the user comes back to the window', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  await alice.context.clearCookies({ name: /^latchkey-\d+$/ });
  await focusWindow(page);
  await signedOutNotice(page).waitFor();
});

test('the next API call shows that the session has ended, and the other tabs show it too', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  const other = await alice.openTab('/profile');
  await alice.context.clearCookies({ name: /^latchkey-\d+$/ });
  alice.expectStatus(401);
  await page.getByRole('button', { name: 'Renew access' }).click();
  await signedOutNotice(page).waitFor();
  await signedOutNotice(other).waitFor();
});

test('signing in again in another tab removes the notice', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  await alice.context.clearCookies({ name: /^latchkey-\d+$/ });
  await focusWindow(page);
  await signedOutNotice(page).waitFor();
  const other = await alice.openTab('/auth/login');
  await waitForProfile(other);
  await signedOutNotice(page).waitFor({ state: 'hidden' });
});

test('the page shows no notice while the state of the session is unknown', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  step.name = 'get';
  alice.expectStatus(503);
  const failed = sessionResponse(page);
  await focusWindow(page);
  expect((await failed).status()).toBe(503);
  step.name = undefined;
  const next = sessionResponse(page);
  await focusWindow(page);
  expect((await next).status()).toBe(200);
  expect(await signedOutNotice(page).count()).toBe(0);
});

test('after a different user signs in, a tab of the previous user offers only a reload', async () => {
  const visitor = await visit(world);
  const page = await visitor.openTab();
  await signIn(page);
  const other = await visitor.openTab(`${world.provider.issuer}/session/end`);
  await other.getByRole('button').first().click();
  await other.goto('/auth/login');
  await signInAtProvider(other, 'bob');
  await other.getByRole('button', { name: 'Allow' }).click();
  await waitForProfile(other, 'bob');

  await page.getByRole('alert').filter({ hasText: 'A different user is now signed in' }).waitFor();
  for (const button of await page.getByRole('button').all()) expect(await button.isDisabled()).toBe(true);
  await expectAccessible(page);
  await page.getByRole('link', { name: 'Reload' }).click();
  await waitForProfile(page, 'bob');
});

test("after signing out in another tab, Back does not show the previous user's pages", async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  await page.goto('/');
  const other = await alice.openTab('/profile');
  await signOut(other);
  await page.goBack({ waitUntil: 'commit' });
  await page.waitForURL(/\/auth\/sign-in/);
  expect(await page.getByText('Alice').count()).toBe(0);
});

/** Performs the action twice in the page; returns for each whether the page prevented it. No navigation happens. */
const performTwice = (page: Page, type: string, action: string) =>
  page.evaluate<boolean[]>(`(() => {
    const prevented = [];
    addEventListener('${type}', (event) => {
      prevented.push(event.defaultPrevented);
      event.preventDefault();
    });
    ${action};
    ${action};
    return prevented;
  })()`);

test('the second click of a double click does not start a second login or resubmit a form', async () => {
  const alice = await visit(world);
  const page = await alice.openTab('/auth/sign-in');
  const clickLink = 'document.querySelector(\'main a[href*="/auth/login"]\').click()';
  expect(await performTwice(page, 'click', clickLink)).toEqual([false, true]);
  await page.reload();
  await page.getByRole('link', { name: /Sign in with/ }).dblclick();
  await signInAtProvider(page);
  await page.getByRole('button', { name: 'Allow' }).click();
  await waitForProfile(page);

  await page.goto('/auth/logout');
  const submit = "document.querySelector('main form').requestSubmit()";
  expect(await performTwice(page, 'submit', submit)).toEqual([false, true]);
});
