import { visit } from '../support/chromium.ts';
import { createWorld, type World } from '../support/world.ts';
import { createPagesWorld } from './support/pages-world.ts';
import { signIn, signInAtProvider, waitForProfile } from './support/sign-in.ts';

describe('while the provider is unavailable', () => {
  let world: World;
  let isUnreachable = true;
  beforeAll(async () => {
    const failToConnect = () => Promise.reject(new TypeError('fetch failed'));
    world = await createWorld({
      wrap: ({ fetch }) => ({ fetch: (...args) => (isUnreachable ? failToConnect() : fetch(...args)) }),
    });
  });
  afterAll(() => world.close());

  test('from startup on, sign-in shows an error page, and reloading it works once the provider is back', async () => {
    const alice = await visit(world);
    alice.expectStatus(503);
    const page = await alice.openTab('/auth/sign-in');
    await page.getByRole('link', { name: /Sign in with/ }).click();
    await page.getByRole('heading', { name: 'Problem with' }).waitFor();
    isUnreachable = false;
    await page.reload();
    await page.getByLabel('Password').waitFor();
  });

  test('a login that fails at its last step can be finished by a reload after the provider has recovered', async () => {
    const alice = await visit(world);
    alice.expectStatus(503);
    const page = await alice.openTab('/auth/login?return_to=/?deep');
    world.providerFaults.set({ path: /^\/token$/, response: { status: 503 } });
    await signInAtProvider(page);
    await page.getByRole('button', { name: 'Allow' }).click();
    await page.getByRole('heading', { name: 'Problem with' }).waitFor();
    world.providerFaults.set(undefined);
    await page.reload();
    await page.waitForURL(`${world.origin}/?deep`);
  });
});

test('while the session store is unavailable, the home page is served and the user stays signed in', async () => {
  const world = await createPagesWorld();
  try {
    const alice = await visit(world);
    const page = await alice.openTab();
    await signIn(page);
    world.setFaults({ store: 'unavailable' });
    alice.expectStatus(503);
    await page.reload();
    await page.getByRole('heading', { name: 'Temporarily unavailable' }).waitFor();
    await page.getByRole('link', { name: 'Go to the home page' }).click();
    await page.getByRole('link', { name: /Sign in with/ }).waitFor();
    world.setFaults({});
    await page.goBack();
    await waitForProfile(page);
  } finally {
    await world.close();
  }
});
