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

/** Types into a field of the page, as a user of a fork's page does. */
async function type(page: Page, text: string): Promise<void> {
  await page.waitForLoadState();
  await page.evaluate("document.querySelector('main').append(document.createElement('textarea'))");
  await page.locator('textarea').last().fill(text);
}
const typedText = (page: Page) => page.evaluate<string>("document.querySelector('main > textarea').value");
/** What somebody at the screen, a screen reader or a printer gets. */
const visibleText = async (page: Page) =>
  `${await page.title()} ${await page.evaluate('document.body.innerText')}`;

test('after a sign-out in another tab, nothing of the user is left on the screen, and one link leads back', async () => {
  const alice = await visit(world);
  const one = await alice.openTab();
  await signIn(one);
  const other = await alice.openTab('/profile?here=1');
  await waitForProfile(other);
  expect(await visibleText(other)).toContain('Alice');
  await signOut(one);
  await signedOutNotice(other).waitFor();
  expect(await visibleText(other)).not.toMatch(/alice|profile/i);
  expect(await other.getByRole('main').count()).toBe(1);
  expect(await other.evaluate('document.activeElement.textContent')).toBe("You've been signed out");
  expect(await other.title()).toBe("You've been signed out · Latchkey");
  await expectAccessible(other);
  expect(await other.getByRole('main').getByRole('link').count()).toBe(1);

  await other.getByRole('link', { name: 'Sign in again' }).click();
  await other.getByRole('button', { name: 'Allow' }).click(); // still signed in at the provider, but without consent
  await waitForProfile(other);
  expect(other.url()).toBe(`${world.origin}/profile?here=1`);
});

test('what the user has typed is hidden, and there again once they have signed in in a new tab', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  await type(page, 'a secret diary');
  await alice.context.clearCookies({ name: /^latchkey-\d+$/ });
  await focusWindow(page);
  await signedOutNotice(page).waitFor();
  expect(await page.locator('textarea').isVisible()).toBe(false);
  const opened = alice.context.waitForEvent('page');
  await page.getByRole('link', { name: 'Sign in again in a new tab' }).click();
  await waitForProfile(await opened); // still signed in at the provider
  await page.locator('textarea').waitFor({ state: 'visible' });
  expect([await typedText(page), await page.title()]).toEqual(['a secret diary', 'Your profile · Latchkey']);
  expect(await page.evaluate('document.activeElement.tagName')).toBe('TEXTAREA');
});

test('a page from the back/forward cache shows its user only when they are signed in', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  await type(page, 'typed');
  const transition = (type: string) =>
    page.evaluate(`dispatchEvent(new PageTransitionEvent('${type}', { persisted: true }))`);
  const frozen = async () => {
    await transition('pagehide');
    expect(await visibleText(page)).not.toContain('alice');
  };
  await frozen();
  await transition('pageshow');
  await page.locator('textarea').waitFor({ state: 'visible' });
  expect(await typedText(page)).toBe('typed');
  await frozen();
  step.name = 'get';
  alice.expectStatus(503);
  await transition('pageshow');
  await page.getByRole('alert').filter({ hasText: "can't tell whether you're still signed in" }).waitFor();
  step.name = undefined;
  await focusWindow(page);
  await page.locator('textarea').waitFor({ state: 'visible' });
  await frozen();
  await alice.context.clearCookies({ name: /^latchkey-\d+$/ });
  await transition('pageshow');
  await signedOutNotice(page).waitFor();
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
  await signIn(page, 'alice', '/auth/developer');
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
  await type(page, 'for Bob to read?');
  const other = await visitor.openTab(`${world.provider.issuer}/session/end`);
  await other.getByRole('button').first().click();
  await other.goto('/auth/login');
  await signInAtProvider(other, 'bob');
  await other.getByRole('button', { name: 'Allow' }).click();
  await waitForProfile(other, 'bob');

  await page.getByRole('alert').filter({ hasText: 'Another account is now signed in' }).waitFor();
  expect(await page.content()).not.toMatch(/alice|for Bob to read/i);
  expect(await page.getByRole('button').count()).toBe(0);
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
