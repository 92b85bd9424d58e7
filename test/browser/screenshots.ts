// Makes docs/screenshots anew: `npm run screenshots`, which takes this for a test file.
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { sights } from './support/pages.ts';
import { createSightseeing } from './support/sightseeing.ts';

const folder = fileURLToPath(new URL('../../docs/screenshots/', import.meta.url));
const colorSchemes = ['light', 'dark'] as const;
const sizes = [
  { width: 390, height: 844 },
  { width: 1280, height: 800 },
];
const reach = createSightseeing();

beforeAll(() => rmSync(folder, { recursive: true, force: true }));

test.each(sights)('$name', async (sight) => {
  const { page } = await reach(sight, { locale: 'en-GB', timezoneId: 'UTC' });
  for (const size of sizes)
    for (const colorScheme of colorSchemes) {
      await page.setViewportSize(size);
      await page.emulateMedia({ colorScheme });
      const path = `${folder}${sight.name}-${colorScheme}-${size.width}.png`;
      await page.screenshot({ path, fullPage: true, animations: 'disabled' });
    }
});
