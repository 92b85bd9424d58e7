import type { Page } from 'playwright-core';
import { expectAccessible } from '../support/accessibility.ts';
import { createPageCaseOpener } from './support/open-page-case.ts';
import { pageCases } from './support/page-cases.ts';
import { languages } from './support/page-texts.ts';

const maxBytes = 100_000;

/** Evaluated in the page: its title, language and layout. */
const measureLayout = `({
  title: document.title,
  lang: document.documentElement.lang,
  headings: [...document.querySelectorAll('h1')].filter((each) => each.checkVisibility()).length,
  overflowsBy: document.documentElement.scrollWidth - document.documentElement.clientWidth,
})`;

/** Evaluated in the page: its status and size. */
const measureTransfer = `({
  status: performance.getEntriesByType('navigation')[0].responseStatus,
  bytes: [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .map((each) => each.encodedBodySize)
    .reduce((sum, each) => sum + each, 0),
})`;

async function expectLayout(page: Page, lang: string): Promise<void> {
  expect(await page.evaluate(measureLayout)).toEqual({
    title: expect.stringMatching(/^\S.* [·-] \S/), // names the site too: a tab shows only the title
    lang,
    headings: 1,
    overflowsBy: 0,
  });
}

const openPageCase = createPageCaseOpener();
const smallScreen = { viewport: { width: 320, height: 640 } };

test.each([...pageCases])(
  '$name is accessible, small, and fits a small screen in each language',
  async (pageCase) => {
    const { page, world } = await openPageCase(pageCase, 'en', smallScreen);
    const { status, bytes } = await page.evaluate<{ readonly status: number; readonly bytes: number }>(
      measureTransfer,
    );
    expect(status).toBe(pageCase.status);
    expect(bytes).toBeGreaterThan(0);
    expect(bytes).toBeLessThan(maxBytes);
    await expectLayout(page, 'en');
    await expectAccessible(page);

    // Translations change only the texts, so the page is not opened again: what it was rendered from is rendered in the others.
    if (!page.url().startsWith(world.origin)) return; // a page of the provider
    for (const lang of languages.filter((each) => each !== 'en')) {
      await page.setContent(await world.renderLastPage(lang));
      await expectLayout(page, lang);
    }
  },
);
