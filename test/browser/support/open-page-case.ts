import type { BrowserContextOptions, Page } from 'playwright-core';
import { type Visitor, visit } from '../../support/chromium.ts';
import { type PageCase, sessionIdOf } from './page-case.ts';
import { readPageTexts } from './page-texts.ts';
import { createPagesWorld, type PagesWorld } from './pages-world.ts';
import { signIn } from './sign-in.ts';

type StorageState = Exclude<BrowserContextOptions['storageState'], string | undefined>;

/** Returns a function that opens a page case in a browser of its own. Alice signs in once for all of them. */
export function createPageCaseOpener() {
  let worlds: { readonly default: PagesWorld; readonly many: PagesWorld };
  let alice: { readonly sessionId: string; readonly storageState: StorageState };
  beforeAll(async () => {
    worlds = { default: await createPagesWorld(), many: await createPagesWorld('many') };
    const { context, openTab } = await visit(worlds.default);
    const page = await openTab();
    await signIn(page);
    alice = {
      sessionId: await sessionIdOf(page, worlds.default),
      storageState: await context.storageState(),
    };
  });
  afterEach(async () => {
    for (const world of Object.values(worlds)) {
      world.setFaults({});
      world.apiFaults.set(undefined);
      world.providerFaults.set(undefined);
      // No page shows the sessions of another.
      await world.latchkey.tokens.endAllOf({ sub: 'alice' }, 'user', alice.sessionId);
      await world.latchkey.tokens.endAllOf({ sub: 'bob' }, 'user');
    }
  });
  afterAll(async () => {
    for (const world of Object.values(worlds ?? {})) await world.close();
  });

  return async function openPageCase(
    pageCase: PageCase,
    lang: string,
    options: BrowserContextOptions = {},
  ): Promise<{ readonly visitor: Visitor; readonly page: Page; readonly world: PagesWorld }> {
    const world = worlds[pageCase.routes ?? 'default'];
    const visitor = await visit(world, {
      locale: lang,
      ...options,
      ...(pageCase.user === 'alice' && { storageState: alice.storageState }),
    });
    const { status, otherStatuses = [] } = pageCase;
    visitor.expectStatus(...[status, ...otherStatuses].filter((each) => each >= 400));
    const page = await visitor.openTab();
    await pageCase.open(page, world, readPageTexts(lang));
    await page.waitForLoadState();
    return { visitor, page, world };
  };
}
