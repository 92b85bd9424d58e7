import type { Page } from 'playwright-core';

/** Submits the provider's sign-in page, in any language, which leads to its consent page or, if that is not needed, back. */
export async function signInAtProvider(page: Page, user = 'alice'): Promise<void> {
  await page.locator('input[name=login]').fill(user);
  await page.locator('input[name=password]').fill('any');
  await page.locator('button.first').click({ noWaitAfter: true });
}

/** Presses a button of the provider's pages, in any language. */
export async function decide(page: Page, decision: 'allow' | 'deny' | 'cancel'): Promise<void> {
  await page.locator(`button[value=${decision}]`).click({ noWaitAfter: true });
}

/** Signs the user in through the provider's pages, from the start of a login to the profile. */
export async function signIn(page: Page, user = 'alice'): Promise<void> {
  await page.goto('/auth/login');
  await signInAtProvider(page, user);
  await decide(page, 'allow');
  await waitForProfile(page, user);
}

/** Waits until this tab shows the user's profile and its scripts have run; before that, a button submits its form. */
export async function waitForProfile(page: Page, user = 'alice'): Promise<void> {
  await page.getByRole('heading', { name: new RegExp(user, 'i') }).waitFor();
  await page.waitForLoadState('load');
}
