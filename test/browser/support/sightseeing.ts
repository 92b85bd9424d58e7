import type { BrowserContextOptions, Page } from 'playwright-core';
import { type Visitor, visit } from '../../support/chromium.ts';
import { createPagesWorld, type PagesWorld, type Sight } from './pages.ts';
import { signIn } from './sign-in.ts';

type SignedIn = Exclude<BrowserContextOptions['storageState'], string | undefined>;

/** Leads to one sight after another; Alice signs in only once. */
export function createSightseeing() {
  let world: PagesWorld;
  let alice: SignedIn;
  beforeAll(async () => {
    world = await createPagesWorld();
    const { context, openTab } = await visit(world);
    await signIn(await openTab());
    alice = await context.storageState();
  });
  afterEach(() => {
    world.setStoreAway(false);
    world.setTooOften(false);
    world.apiFaults.set(undefined);
    world.providerFaults.set(undefined);
  });
  afterAll(() => world.close());

  return async (
    sight: Sight,
    options: BrowserContextOptions = {},
  ): Promise<{ readonly visitor: Visitor; readonly page: Page }> => {
    const visitor = await visit(world, {
      ...options,
      ...(sight.lang && { locale: sight.lang }),
      ...(sight.as === 'alice' && { storageState: alice }),
    });
    if (sight.status >= 400) visitor.expectStatus(sight.status);
    const page = await visitor.openTab();
    await sight.reach(page, world);
    await page.waitForLoadState();
    return { visitor, page };
  };
}
