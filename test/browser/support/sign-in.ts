import type { Page } from 'playwright-core';

/** The provider's sign-in page, filled in; leads to its consent page, or back when nothing is left to ask. */
export async function signInAtProvider(page: Page, person = 'alice'): Promise<void> {
  await page.getByLabel('Name').fill(person);
  await page.getByLabel('Password').fill('any');
  await page.getByRole('button', { name: 'Sign in' }).click();
}

/** From wherever a login leads to first, to the page it leads back to, as a person walks it. */
export async function signIn(page: Page, loginPath = '/auth/login', person = 'alice'): Promise<void> {
  await page.goto(loginPath);
  await signInAtProvider(page, person);
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
}
