import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The path of an `API_ROUTES_FILE` with these rows. */
export function writeRoutesFile(routes: readonly unknown[]): string {
  const file = join(mkdtempSync(join(tmpdir(), 'latchkey-routes-')), 'api-routes.json');
  writeFileSync(file, JSON.stringify({ routes }));
  return file;
}
