import { expectAccessible } from '../support/accessibility.ts';
import { visit } from '../support/chromium.ts';
import { createWorld, type World } from '../support/world.ts';
import { signIn, signInAtProvider, waitForProfile } from './support/sign-in.ts';

let world: World;
beforeAll(async () => {
  world = await createWorld({ env: { OAUTH2_SCOPES: 'openid profile read:profile' } });
});
afterAll(() => world.close());
afterEach(() => world.apiFaults.set(undefined));

test('a user who declines a permission sees an explanation instead of a redirect loop, and can still grant it', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  alice.expectStatus(403);
  await page.goto('/api/data');
  await page.getByRole('link', { name: /^Continue with/ }).click();
  await page.getByRole('checkbox').uncheck();
  await page.getByRole('button', { name: 'Allow' }).click();
  await waitForProfile(page);

  await page.goto('/api/data');
  await page.getByText("You haven't allowed this so far").waitFor();
  await expectAccessible(page);
  await page.getByRole('link', { name: /^Continue with/ }).click();
  await page.getByRole('button', { name: 'Allow' }).click();
  await waitForProfile(page);
  await page.goto('/api/data');
  await page.getByText('Paint the roses red').waitFor();
});

test('an API that requires a recent sign-in gets one, and the user returns to the same page', async () => {
  const alice = await visit(world);
  const page = await alice.openTab();
  await signIn(page);
  const challenge = 'Bearer error="insufficient_user_authentication", max_age="0"';
  const answer = { status: 401, headers: { 'www-authenticate': challenge } };
  world.apiFaults.set({ path: /profile/, response: answer });
  alice.expectStatus(401);
  await page.goto('/?from=here');
  const { login_url } = await page.evaluate<{ login_url: string }>(
    "fetch('/api/profile').then((response) => response.json())",
  );
  await page.goto(login_url);
  await signInAtProvider(page); // although the user is already signed in at the provider
  await page.waitForURL(`${world.origin}/?from=here`);
  const again = await page.evaluate("fetch('/api/profile').then((response) => response.json())");
  expect(again).toMatchObject({ error: 'insufficient_user_authentication', max_age: 0, declined: true });
  expect(again).not.toHaveProperty('login_url');
});
