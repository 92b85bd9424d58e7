import { expectAccessible } from '../../support/accessibility.ts';
import { createPageCaseOpener } from './open-page-case.ts';
import { pageCases } from './page-cases.ts';
import type { Language } from './page-texts.ts';

const maxBytes = 100_000;

/** Evaluated in the page: its title, language, layout, status and size. */
const measurePage = `({
  title: document.title,
  lang: document.documentElement.lang,
  headings: document.querySelectorAll('h1').length,
  overflowsBy: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  status: performance.getEntriesByType('navigation')[0].responseStatus,
  bytes: [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .map((each) => each.encodedBodySize)
    .reduce((sum, each) => sum + each, 0),
})`;

/** The checks that each page has to pass in this language. */
export function checkPages(lang: Language): void {
  const openPageCase = createPageCaseOpener();
  const checksAccessibility = lang === 'en'; // translations change the texts only

  test.each([...pageCases])(
    `$name has a title and one heading, ${checksAccessibility ? 'is accessible, ' : ''}and fits a small screen`,
    async (pageCase) => {
      const { page } = await openPageCase(pageCase, lang, { viewport: { width: 320, height: 640 } });
      const measured = await page.evaluate<{ readonly bytes: number }>(measurePage);
      expect(measured).toEqual({
        title: expect.stringMatching(/^\S.* [·-] \S/), // names the site too: a tab shows only the title
        lang,
        headings: 1,
        overflowsBy: 0,
        status: pageCase.status,
        bytes: expect.any(Number),
      });
      expect(measured.bytes).toBeGreaterThan(0);
      expect(measured.bytes).toBeLessThan(maxBytes);
      if (checksAccessibility) await expectAccessible(page);
    },
  );
}
