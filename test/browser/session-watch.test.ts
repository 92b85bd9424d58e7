import type { Page } from 'playwright-core';
import { expectAccessible } from '../support/accessibility.ts';
import { visit } from '../support/chromium.ts';
import { failAtStep } from '../support/fail-at-step.ts';
import { createWorld, type World } from '../support/world.ts';
import { profileOf, signIn, signInAtProvider } from './support/sign-in.ts';

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

const signedOut = (page: Page) => page.getByRole('alert').filter({ hasText: 'You were signed out' });
/** What a browser does when its person comes back to the window. */
async function comeBack(page: Page): Promise<void> {
  await page.waitForLoadState(); // with the page's script
  await page.evaluate("window.dispatchEvent(new Event('focus'))");
}
const asked = (page: Page) => page.waitForResponse((answer) => answer.url().endsWith('/auth/session'));

async function signOut(page: Page): Promise<void> {
  await page.goto('/auth/logout');
  await page.getByRole('main').getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL((url) => url.origin !== world.origin || url.pathname === '/');
}

test('who signs out in one tab is told so in the others at once, and led back to the same place', async () => {
  const alice = await visit(world);
  const one = await alice.openTab();
  await signIn(one);
  const other = await alice.openTab('/profile?here=1');
  await other.getByLabel('Query').first().fill('typed=1');
  await signOut(one);
  await signedOut(other).waitFor();
  expect(await other.getByLabel('Query').first().inputValue()).toBe('typed=1');
  await expectAccessible(other);

  await other.getByRole('link', { name: 'Sign in again' }).click();
  await other.getByRole('button', { name: 'Allow' }).click(); // the provider knows who, but no longer what
  await profileOf(other);
  expect(other.url()).toBe(`${world.origin}/profile?here=1`);
});

test('a session that has ended is noticed when its person comes back', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  await alice.context.clearCookies({ name: 'latchkey' });
  await comeBack(page);
  await signedOut(page).waitFor();
});

test('a session that has ended is noticed by the next call, and the other tabs learn of it', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  const other = await alice.openTab('/profile');
  await alice.context.clearCookies({ name: 'latchkey' });
  alice.expectStatus(401);
  await page.getByRole('button', { name: 'Renew access' }).click();
  await signedOut(page).waitFor();
  await signedOut(other).waitFor();
});

test('who signs in again in another tab finds the message gone', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  await alice.context.clearCookies({ name: 'latchkey' });
  await comeBack(page);
  await signedOut(page).waitFor();
  const other = await alice.openTab('/auth/login');
  await profileOf(other);
  await signedOut(page).waitFor({ state: 'hidden' });
});

test('while nobody can tell whether the session lives, nothing is said', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  step.name = 'get';
  alice.expectStatus(503);
  const answer = asked(page);
  await comeBack(page);
  expect((await answer).status()).toBe(503);
  step.name = undefined;
  const next = asked(page);
  await comeBack(page);
  expect((await next).status()).toBe(200);
  expect(await signedOut(page).count()).toBe(0);
});

test('a tab of somebody who is not signed in any more can only be reloaded', async () => {
  const visitor = await visit(world);
  const page = await visitor.openTab();
  await signIn(page);
  const other = await visitor.openTab(`${world.provider.issuer}/session/end`);
  await other.getByRole('button').first().click();
  await other.goto('/auth/login');
  await signInAtProvider(other, 'bob');
  await other.getByRole('button', { name: 'Allow' }).click();
  await profileOf(other, 'bob');

  await page.getByRole('alert').filter({ hasText: 'Somebody else is signed in' }).waitFor();
  for (const button of await page.getByRole('button').all()) expect(await button.isDisabled()).toBe(true);
  await expectAccessible(page);
  await page.getByRole('link', { name: 'Reload' }).click();
  await profileOf(page, 'bob');
});

test('back after signing out shows no page of who was signed in', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  await page.goto('/');
  const other = await alice.openTab('/profile');
  await signOut(other);
  await page.goBack({ waitUntil: 'commit' });
  await page.waitForURL(/\/login/);
  expect(await page.getByText('Alice').count()).toBe(0);
});

/** Does it twice in the page; says of each time whether it was held back. Nothing leaves the page. */
const twice = (page: Page, type: string, act: string) =>
  page.evaluate<boolean[]>(`(() => {
    const seen = [];
    addEventListener('${type}', (event) => {
      seen.push(event.defaultPrevented);
      event.preventDefault();
    });
    ${act};
    ${act};
    return seen;
  })()`);

test('a second click begins no second login, and sends no form twice', async () => {
  const alice = await visit(world);
  const page = await alice.openTab('/login');
  const press = 'document.querySelector(\'main a[href*="/auth/login"]\').click()';
  expect(await twice(page, 'click', press)).toEqual([false, true]);
  await page.reload();
  await page.getByRole('link', { name: /Sign in with/ }).dblclick();
  await signInAtProvider(page);
  await page.getByRole('button', { name: 'Allow' }).click();
  await profileOf(page);

  await page.goto('/auth/logout');
  const submit = "document.querySelector('main form').requestSubmit()";
  expect(await twice(page, 'submit', submit)).toEqual([false, true]);
});
