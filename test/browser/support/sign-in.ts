import type { APIResponse, Page } from 'playwright-core';

/** Submits the provider's sign-in page, in any language, which leads to its consent page or, if that is not needed, back. */
export async function signInAtProvider(page: Page, user = 'alice'): Promise<void> {
  await page.locator('input[name=login]').fill(user);
  await page.locator('input[name=password]').fill('any');
  await page.locator('button.first').click({ noWaitAfter: true });
}

/** Presses a button of the provider's pages, in any language. */
export async function decide(page: Page, decision: 'allow' | 'deny' | 'cancel'): Promise<void> {
  await page.locator(`button[value=${decision}]`).click();
}

/**
 * Signs the user in and opens the profile, or the page at `path`. The forms of the provider are sent with the cookies of this browser but without
 * opening a page, which is faster; the tests of signing in use the pages.
 */
export async function signIn(page: Page, user = 'alice', path = '/profile'): Promise<void> {
  let response = await page.request.get('/auth/login');
  response = await submitForm(page, response, { login: user, password: 'any' });
  if (new URL(response.url()).pathname.startsWith('/interaction/'))
    response = await submitForm(page, response, { decision: 'allow' });
  if (!response.ok()) throw new Error(`${user} cannot sign in: ${response.status()} at ${response.url()}`);
  await page.goto(path);
  if (path === '/profile') await waitForProfile(page, user);
}

/** Signs the user in through the provider's pages, from the start of a login to the profile. */
export async function signInOnPages(page: Page, user = 'alice'): Promise<void> {
  await page.goto('/auth/login');
  await signInAtProvider(page, user);
  await decide(page, 'allow');
  await waitForProfile(page, user);
}

/** Sends the form of one of the provider's pages. */
async function submitForm(
  page: Page,
  response: APIResponse,
  form: Readonly<Record<string, string>>,
): Promise<APIResponse> {
  const action = /<form method="post" action="([^"]+)"/.exec(await response.text())?.[1];
  if (action === undefined) throw new Error(`no form at ${response.url()}`);
  return page.request.post(new URL(action, response.url()).href, { form });
}

/** Waits until this tab shows the user's profile and its scripts have run; before that, a button submits its form. */
export async function waitForProfile(page: Page, user = 'alice'): Promise<void> {
  await page.getByRole('heading', { name: new RegExp(user, 'i') }).waitFor();
  await page.waitForLoadState('load');
}
