import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export interface FrontEndFolder {
  readonly path: string;
  /** Writes files, by their path in the folder. */
  write(files: Readonly<Record<string, string | Buffer>>): void;
  remove(): void;
}

/** A folder as a bundler creates it, with these files. */
export function createFrontEndFolder(files: Readonly<Record<string, string | Buffer>>): FrontEndFolder {
  const path = mkdtempSync(join(tmpdir(), 'latchkey-front-end-'));
  const write: FrontEndFolder['write'] = (written) => {
    for (const [name, content] of Object.entries(written)) {
      mkdirSync(dirname(join(path, name)), { recursive: true });
      writeFileSync(join(path, name), content);
    }
  };
  write(files);
  return { path, write, remove: () => rmSync(path, { recursive: true, force: true }) };
}
