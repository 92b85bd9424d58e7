import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Writes these rows to a temporary `API_ROUTES_FILE` and returns its path. */
export function writeRoutesFile(routes: readonly unknown[]): string {
  return writeText(JSON.stringify({ routes }));
}

/** The same with this content. */
export function writeText(content: string | Buffer): string {
  const file = join(mkdtempSync(join(tmpdir(), 'latchkey-routes-')), 'api-routes.json');
  writeFileSync(file, content);
  return file;
}
