import type { Page } from 'playwright-core';

/** The provider's sign-in page, filled in; leads to its consent page, or back when nothing is left to ask. */
export async function signInAtProvider(page: Page, person = 'alice'): Promise<void> {
  await page.getByLabel('Username').fill(person);
  await page.getByLabel('Password').fill('any');
  await page.getByRole('button', { name: 'Sign in' }).click({ noWaitAfter: true });
}

/** From a login's first step to the profile, as a person walks it. */
export async function signIn(page: Page, person = 'alice'): Promise<void> {
  await page.goto('/auth/login');
  await signInAtProvider(page, person);
  await page.getByRole('button', { name: 'Allow' }).click();
  await profileOf(page, person);
}

/** Settles when the page in this tab is this person's profile. */
export async function profileOf(page: Page, person = 'alice'): Promise<void> {
  await page.getByRole('heading', { name: new RegExp(person, 'i') }).waitFor();
}
