import type { Stats } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { AppError } from '../errors.ts';

/** A file of the front end. */
export interface FoundFile {
  /** Without symbolic links. */
  readonly path: string;
  readonly stats: Stats;
}

/** What a path leads to: a file, a folder with an `index.html` (which needs a slash at its end), or nothing. */
export type Found = FoundFile | 'folder' | undefined;

interface FolderOptions {
  /** The root, without symbolic links. */
  readonly root: string;
  readonly servesSourceMaps: boolean;
}

/** Codes of paths that lead to no file, whatever the cause: a path chosen by a stranger must not be an error of ours. */
const absentCodes: ReadonlySet<unknown> = new Set([
  ...['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'ELOOP', 'EACCES', 'EPERM', 'EINVAL'],
]);
/** A backslash, and control characters. */
const illegalCharacters = /[\\\p{Cc}]/u;

/**
 * The decoded segments of a path.
 * @throws AppError `invalid_request`: `..`, a backslash, a zero byte or an invalid escape. Browsers send none of these.
 */
export function readSegments(url: string): readonly string[] {
  const path = url.replace(/^[a-z][a-z\d+.-]*:\/\/[^/?#]*/i, '').replace(/[?#].*$/s, '');
  const segments = path.split('/').slice(1).map(decode);
  const isIllegal = (each: string | undefined) =>
    each === undefined ||
    illegalCharacters.test(each) ||
    each.split('/').some((part) => /^\.\.?$/.test(part));
  if (segments.some(isIllegal))
    throw new AppError('invalid_request', { cause: new Error('a path that no browser sends') });
  return segments.filter((each) => each !== undefined);
}

function decode(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}

/** True for a path that may be a file of the operator, but none for visitors: hidden files, and source maps. */
export function isHidden(segments: readonly string[], servesSourceMaps: boolean): boolean {
  const isDotFile = segments.some(
    (each, index) => /(^|\/)\./.test(each) && !(index === 0 && each === '.well-known'),
  );
  return isDotFile || (!servesSourceMaps && /\.map$/i.test(segments.at(-1) ?? ''));
}

/** The file for the segments of a path, in `root`. A symbolic link out of `root` leads to nothing. */
export async function findFile(segments: readonly string[], options: FolderOptions): Promise<Found> {
  const last = segments.at(-1) ?? '';
  const folders = segments.slice(0, -1);
  // An encoded slash, or two slashes in a row, are no separators.
  if (segments.some((each) => each.includes('/')) || folders.includes('')) return undefined;
  const { root } = options;
  const base = join(root, ...folders);
  if (last === '') return findInside(root, join(base, 'index.html'));
  const found = await findInside(root, join(base, last));
  if (found) return found;
  if (await findInside(root, join(base, last, 'index.html'))) return 'folder';
  return last.includes('.') ? undefined : findInside(root, join(base, `${last}.html`));
}

/** The file at `path`, unless it is not a file, or outside `root`. */
export async function findInside(root: string, path: string): Promise<FoundFile | undefined> {
  try {
    const real = await realpath(path);
    if (!real.startsWith(root.endsWith(sep) ? root : root + sep)) return undefined;
    const stats = await stat(real);
    return stats.isFile() ? { path: real, stats } : undefined;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** Not `instanceof Error`, which is false for errors of Node.js if a test runs this module in a separate context. */
function isAbsent(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && absentCodes.has(error.code);
}
