// Renews the pictures in docs/screenshots: `npm run screenshots`, which runs this file as a test file.
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createPageCaseOpener } from './support/open-page-case.ts';
import { pageCases } from './support/page-cases.ts';
import { languages } from './support/page-texts.ts';

const folder = fileURLToPath(new URL('../../docs/screenshots/', import.meta.url));
const colorSchemes = ['light', 'dark'] as const;
const sizes = [
  { width: 360, height: 800 },
  { width: 1280, height: 800 },
];
const openPageCase = createPageCaseOpener();

beforeAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(languages)('in language %s', (lang) => {
  test.each([...pageCases])('takes the pictures of $name', async (pageCase) => {
    const { page } = await openPageCase(pageCase, lang, {
      locale: lang === 'en' ? 'en-GB' : lang,
      timezoneId: 'UTC',
    });
    for (const size of sizes)
      for (const colorScheme of colorSchemes) {
        await page.setViewportSize(size);
        await page.emulateMedia({ colorScheme });
        const path = `${folder}${pageCase.name}${lang === 'en' ? '' : `-${lang}`}-${colorScheme}-${size.width}.png`;
        await page.screenshot({ path, fullPage: true, animations: 'disabled' });
      }
  });
});
