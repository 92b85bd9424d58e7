import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/**
 * A folder with an app built for real processes (`dist/main.js`), from where it finds its packages and pages; to be
 * removed by the caller.
 */
export function buildApp(): string {
  const cache = join(root, 'node_modules', '.cache');
  mkdirSync(cache, { recursive: true });
  const built = mkdtempSync(join(cache, 'latchkey-'));
  const compiler = join(root, 'node_modules/.bin/tsc');
  execFileSync(process.execPath, [compiler, '-p', 'tsconfig.build.json', '--outDir', join(built, 'dist')], {
    cwd: root,
  });
  for (const folder of ['views', 'public']) symlinkSync(join(root, folder), join(built, folder));
  return built;
}
