import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { FoundFile } from './find-file.ts';

/** Larger files are not read for their tag. */
const maxBytes = 4 * 1024 * 1024;
const maxTags = 2_000;

interface Tag {
  readonly version: string;
  readonly etag: Promise<string>;
}

/**
 * `tagOf(file)`: an `ETag` of the content. One of size and time, as web servers usually send it, is the same for two
 * releases whose `index.html` differs only in the hashes of its scripts if the deployment sets every time to one value, as
 * reproducible images and package managers do; browsers would keep the old page. `undefined` for large files.
 */
export function createContentTags(): (file: FoundFile) => Promise<string> | undefined {
  const tags = new Map<string, Tag>();
  return function tagOf({ path, stats }) {
    if (stats.size > maxBytes) return undefined;
    const version = [stats.ino, stats.size, stats.mtimeMs, stats.ctimeMs].join(' ');
    const known = tags.get(path);
    if (known?.version === version) return known.etag;
    const etag = readFile(path).then(
      (content) => `W/"${createHash('sha256').update(content).digest('base64url').slice(0, 22)}"`,
    );
    etag.catch(() => tags.delete(path));
    if (tags.size >= maxTags) tags.clear();
    tags.set(path, { version, etag });
    return etag;
  };
}
