import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Writes these rows to a temporary `API_ROUTES_FILE` and returns its path. */
export function writeRoutesFile(routes: readonly unknown[]): string {
  const file = join(mkdtempSync(join(tmpdir(), 'latchkey-routes-')), 'api-routes.json');
  writeFileSync(file, JSON.stringify({ routes }));
  return file;
}
