import { expectAccessible } from '../support/accessibility.ts';
import { sights } from './support/pages.ts';
import { createSightseeing } from './support/sightseeing.ts';

const mostBytes = 100_000;
const reach = createSightseeing();

/** What a page says of itself, asked in the page. */
const look = `({
  title: document.title,
  lang: document.documentElement.lang,
  headings: document.querySelectorAll('h1').length,
  overflowsBy: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  status: performance.getEntriesByType('navigation')[0].responseStatus,
  bytes: [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .map((each) => each.encodedBodySize)
    .reduce((sum, each) => sum + each, 0),
})`;

test.each(sights)(
  '$name says what it is, reads well in light and dark, and fits a small screen',
  async (sight) => {
    const { page } = await reach(sight, { viewport: { width: 320, height: 640 } });
    const seen = await page.evaluate<{ readonly bytes: number }>(look);
    expect(seen).toEqual({
      title: expect.stringMatching(/^\S.* [·-] \S/), // of what, too: a tab shows only this
      lang: sight.lang ?? 'en',
      headings: 1,
      overflowsBy: 0,
      status: sight.status,
      bytes: expect.any(Number),
    });
    expect(seen.bytes).toBeGreaterThan(0);
    expect(seen.bytes).toBeLessThan(mostBytes);
    await expectAccessible(page);
  },
);
