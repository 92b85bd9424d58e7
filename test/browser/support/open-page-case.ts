import type { BrowserContextOptions, Page } from 'playwright-core';
import { type Visitor, visit } from '../../support/chromium.ts';
import type { PageCase } from './page-cases.ts';
import { createPagesWorld, type PagesWorld } from './pages-world.ts';
import { signIn } from './sign-in.ts';

type StorageState = Exclude<BrowserContextOptions['storageState'], string | undefined>;

/** Returns a function that opens a page case in a browser of its own. Alice signs in once for all of them. */
export function createPageCaseOpener() {
  let world: PagesWorld;
  let aliceState: StorageState;
  beforeAll(async () => {
    world = await createPagesWorld();
    const { context, openTab: tab } = await visit(world);
    await signIn(await tab());
    aliceState = await context.storageState();
  });
  afterEach(() => {
    world.setStoreUnavailable(false);
    world.setRateLimited(false);
    world.apiFaults.set(undefined);
    world.providerFaults.set(undefined);
  });
  afterAll(() => world.close());

  return async function openPageCase(
    pageCase: PageCase,
    options: BrowserContextOptions = {},
  ): Promise<{ readonly visitor: Visitor; readonly page: Page }> {
    const visitor = await visit(world, {
      ...options,
      ...(pageCase.lang && { locale: pageCase.lang }),
      ...(pageCase.user === 'alice' && { storageState: aliceState }),
    });
    if (pageCase.status >= 400) visitor.expectStatus(pageCase.status);
    const page = await visitor.openTab();
    await pageCase.open(page, world);
    await page.waitForLoadState();
    return { visitor, page };
  };
}
