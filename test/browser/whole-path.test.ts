import type { Page } from 'playwright-core';
import { visit } from '../support/chromium.ts';
import { createWorld, type World } from '../support/world.ts';
import { signInAtProvider } from './support/sign-in.ts';

const scopes = 'openid profile email read:profile read:data write:data';

let world: World;
beforeAll(async () => {
  world = await createWorld({ env: { OAUTH2_SCOPES: scopes } });
});
afterAll(() => world.close());

/** What a script of our page gets from an address of ours. */
function fetchFrom(page: Page, path: string) {
  return page.evaluate(async (address) => {
    const answer = await fetch(address, { headers: { accept: 'application/json' } });
    return { status: answer.status, body: await answer.text() };
  }, path);
}

test('a person signs in, sees their profile, renews access, calls the API and signs out', async () => {
  const alice = await visit(world);
  const page = await alice.tab('/');
  await page.getByRole('link', { name: 'Sign in' }).click();
  await page.getByRole('link', { name: /Sign in with/ }).click();
  expect(new URL(page.url()).origin).toBe(world.provider.issuer);
  await signInAtProvider(page);
  await page.getByRole('button', { name: 'Allow' }).click();

  await page.getByRole('heading', { name: 'Hello, Alice Liddell' }).waitFor();
  expect(page.url()).toBe(`${world.origin}/profile`);

  await page.getByRole('button', { name: 'Renew access' }).click();
  await page.getByRole('status').filter({ hasText: 'Your access was renewed.' }).waitFor();
  expect(world.grants.filter((each) => each === 'refresh_token')).toHaveLength(1);

  await page.getByRole('button', { name: 'Call the API' }).click();
  await page.getByText('Paint the roses red').waitFor();
  expect(await fetchFrom(page, '/api/profile')).toMatchObject({
    status: 200,
    body: expect.stringContaining('Alice'),
  });

  const cookies = await alice.context.cookies(world.origin);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign out?' }).waitFor();
  expect(new URL(page.url()).origin).toBe(world.provider.issuer);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('link', { name: 'Sign in' }).waitFor();
  expect(page.url()).toBe(`${world.origin}/`);

  await alice.context.addCookies(cookies);
  alice.expectStatus(401);
  expect(await fetchFrom(page, '/api/profile')).toMatchObject({ status: 401 });
});
