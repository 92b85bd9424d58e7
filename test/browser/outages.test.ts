import { visit } from '../support/chromium.ts';
import { createWorld, type World } from '../support/world.ts';
import { createPagesWorld } from './support/pages.ts';
import { profileOf, signIn, signInAtProvider } from './support/sign-in.ts';

describe('a provider that is away', () => {
  let world: World;
  let isAway = true;
  beforeAll(async () => {
    const unreachable = () => Promise.reject(new TypeError('fetch failed'));
    world = await createWorld({
      wrap: ({ fetch }) => ({ fetch: (...args) => (isAway ? unreachable() : fetch(...args)) }),
    });
  });
  afterAll(() => world.close());

  test('since before this app began is said on a page that can be reloaded', async () => {
    const alice = await visit(world);
    alice.expectStatus(503);
    const page = await alice.openTab('/login');
    await page.getByRole('link', { name: /Sign in with/ }).click();
    await page.getByRole('heading', { name: 'No answer from' }).waitFor();
    isAway = false;
    await page.reload();
    await page.getByLabel('Password').waitFor();
  });

  test('at the last step of a login lets it be finished by a reload', async () => {
    const alice = await visit(world);
    alice.expectStatus(503);
    const page = await alice.openTab('/auth/login?return_to=/?deep');
    world.providerFaults.set({ path: /^\/token$/, response: { status: 503 } });
    await signInAtProvider(page);
    await page.getByRole('button', { name: 'Allow' }).click();
    await page.getByRole('heading', { name: 'No answer from' }).waitFor();
    world.providerFaults.set(undefined);
    await page.reload();
    await page.waitForURL(`${world.origin}/?deep`);
  });
});

test('while the session store is away the start page is served, and nobody is signed out by it', async () => {
  const world = await createPagesWorld();
  try {
    const alice = await visit(world);
    const page = await alice.openTab();
    await signIn(page);
    world.setStoreAway(true);
    alice.expectStatus(503);
    await page.reload();
    await page.getByRole('heading', { name: 'Back in a moment' }).waitFor();
    await page.getByRole('link', { name: 'Back to the start' }).click();
    await page.getByRole('link', { name: 'Sign in' }).waitFor();
    world.setStoreAway(false);
    await page.goBack();
    await profileOf(page);
  } finally {
    await world.close();
  }
});
