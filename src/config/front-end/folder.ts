import { accessSync, constants, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Why the folder at `path` cannot be served, as a sentence about `APP_DIR`; `undefined` if it can. */
export function findFolderProblem(path: string): string | undefined {
  try {
    if (!statSync(path).isDirectory()) return `must be a folder, and ${path} is a file`;
    if (readdirSync(path).length === 0) return `is an empty folder (${path}): build your front end first`;
  } catch {
    return `is a folder that does not exist or cannot be read (${path}): build your front end first, or correct the path`;
  }
  try {
    accessSync(join(path, 'index.html'), constants.R_OK);
    return undefined;
  } catch {
    return `has no index.html that can be read (${path}): set the folder into which your front end is built`;
  }
}
