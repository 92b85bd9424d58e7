import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AxeResults } from 'axe-core';
import type { Page } from 'playwright-core';

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const contrast = 'color-contrast';
/** Only colours differ between the modes, so all other rules are checked in one of them. */
const checks = [
  { colorScheme: 'light', options: {} },
  { colorScheme: 'dark', options: { runOnly: { type: 'rule', values: [contrast] } } },
] as const;

/**
 * Fails if axe-core finds a violation in light or dark mode. The CSP does not apply to scripts run by the debugger.
 */
export async function expectAccessible(page: Page): Promise<void> {
  await page.evaluate(axeSource);
  for (const { colorScheme, options } of checks) {
    // axe-core would measure contrast in the middle of a colour transition.
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    const { violations } = await page.evaluate<AxeResults>(`axe.run(${JSON.stringify(options)})`);
    const found = violations.map(({ id, nodes }) => ({ id, nodes: nodes.map(({ html }) => html) }));
    expect({ url: page.url(), colorScheme, found }).toEqual({ url: page.url(), colorScheme, found: [] });
  }
}
