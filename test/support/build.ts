import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Builds the app and returns the folder, for tests that start real processes (`dist/main.js`, `dist/cli.js`). It lies inside
 * node_modules, so that imports resolve, and links to what else they read. The caller removes it.
 */
export function buildApp(): string {
  const cache = join(root, 'node_modules', '.cache');
  mkdirSync(cache, { recursive: true });
  const built = mkdtempSync(join(cache, 'latchkey-'));
  const compiler = join(root, 'node_modules/.bin/tsc');
  execFileSync(process.execPath, [compiler, '-p', 'tsconfig.build.json', '--outDir', join(built, 'dist')], {
    cwd: root,
  });
  for (const each of ['views', 'public', 'package.json']) symlinkSync(join(root, each), join(built, each));
  return built;
}
