import { visit } from '../support/chromium.ts';
import { createWorld, type World } from '../support/world.ts';
import { signInAtProvider, waitForProfile } from './support/sign-in.ts';

let world: World;
beforeAll(async () => {
  world = await createWorld({
    basePath: '/portal',
    env: { OAUTH2_SCOPES: 'openid profile email read:profile read:data write:data' },
  });
});
afterAll(() => world.close());

test('below a base path, the pages and their scripts work, from sign-in to sign-out in another tab', async () => {
  const alice = await visit(world); // any error on the console fails the test
  const page = await alice.openTab('/portal/');
  await page.getByRole('link', { name: /Sign in with/ }).click();
  await signInAtProvider(page);
  await page.getByRole('button', { name: 'Allow' }).click();
  await waitForProfile(page);
  expect(page.url()).toBe(`${world.url}/profile`);
  await page.getByText('Technical details').click();
  await page.getByRole('button', { name: 'Renew access' }).click();
  await page.getByRole('status').filter({ hasText: 'Your access was renewed.' }).waitFor();
  await page.getByRole('link', { name: 'For developers' }).click();
  await page.waitForURL(/\/portal\/auth\/developer$/);
  await page.waitForLoadState();
  await page.getByText('GET /api/data').click();
  await page.getByRole('button', { name: 'Send GET /data' }).click();
  await page.getByText('Paint the roses red').waitFor();

  const other = await alice.openTab('/portal/profile');
  await other.getByRole('button', { name: 'Sign out', exact: true }).click();
  await other.getByRole('heading', { name: 'Sign out of Demo ID too?' }).waitFor();
  const link = page
    .getByRole('alert')
    .getByRole('link', { name: /Sign in/ })
    .first();
  await link.waitFor();
  expect(await link.getAttribute('href')).toBe(
    `${world.url}/auth/login?return_to=%2Fportal%2Fauth%2Fdeveloper`,
  );
});
