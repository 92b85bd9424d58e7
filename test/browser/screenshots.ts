// Renews the pictures in docs/screenshots: `npm run screenshots`, which runs this file as a test file.
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createPageCaseOpener } from './support/open-page-case.ts';
import { pageCases } from './support/page-cases.ts';

const folder = fileURLToPath(new URL('../../docs/screenshots/', import.meta.url));
const colorSchemes = ['light', 'dark'] as const;
const sizes = [
  { width: 390, height: 844 },
  { width: 1280, height: 800 },
];
const openPageCase = createPageCaseOpener();

beforeAll(() => rmSync(folder, { recursive: true, force: true }));

test.each(pageCases)('takes the pictures of $name', async (pageCase) => {
  const { page } = await openPageCase(pageCase, { locale: 'en-GB', timezoneId: 'UTC' });
  for (const size of sizes)
    for (const colorScheme of colorSchemes) {
      await page.setViewportSize(size);
      await page.emulateMedia({ colorScheme });
      const path = `${folder}${pageCase.name}-${colorScheme}-${size.width}.png`;
      await page.screenshot({ path, fullPage: true, animations: 'disabled' });
    }
});
