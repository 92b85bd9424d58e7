import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { extname, join, sep } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { RequestHandler } from 'express';

interface Asset {
  readonly content: Buffer;
  /** Absent if it is hardly smaller. */
  readonly gzipped: Buffer | undefined;
  readonly etag: string;
}

const hiddenFile = /(^|\/)\./;
/** A gzipped copy is used if it is at most this part of the content: fonts and images are compressed already. */
const maxGzippedPart = 0.9;

/**
 * Serves the files in `folder` by their paths below it, but no hidden files. Browsers revalidate them (`ETag`), so that a
 * new release takes effect immediately.
 * @param isCached true if each file is read and compressed once; then new and changed files need a restart
 */
export function createAssets(folder: string, isCached: boolean): RequestHandler {
  const loaded = new Map<string, Asset>();
  const namesAtStart = isCached ? listFiles(folder) : undefined;

  function find(name: string): Asset | undefined {
    const existing = loaded.get(name);
    if (existing) return existing;
    // Looked up in a list, so that no name leads out of the folder.
    if (!(namesAtStart ?? listFiles(folder)).has(name)) return undefined;
    const asset = load(join(folder, name));
    if (isCached) loaded.set(name, asset);
    return asset;
  }

  return function assets(req, res, next) {
    const name = decodePath(req.path.slice(1));
    const asset = req.method === 'GET' || req.method === 'HEAD' ? find(name) : undefined;
    if (!asset) return next();
    res.set({ ETag: asset.etag, 'Cache-Control': 'no-cache' }).vary('Accept-Encoding');
    if (req.fresh) return res.status(304).end();
    res.type(extname(name));
    const canSendGzipped = asset.gzipped && req.acceptsEncodings('gzip', 'identity') === 'gzip';
    if (canSendGzipped) res.set('Content-Encoding', 'gzip');
    res.send(canSendGzipped ? asset.gzipped : asset.content);
  };
}

/** The paths of all files, with `/` between names. */
function listFiles(folder: string): ReadonlySet<string> {
  const names = readdirSync(folder, { encoding: 'utf8', recursive: true });
  const visible = names.filter((name) => !hiddenFile.test(name.replaceAll(sep, '/')));
  const files = visible.filter((name) => statSync(join(folder, name), { throwIfNoEntry: false })?.isFile());
  return new Set(files.map((name) => name.replaceAll(sep, '/')));
}

function load(path: string): Asset {
  const content = readFileSync(path);
  const gzipped = gzipSync(content, { level: 9 });
  return {
    content,
    gzipped: gzipped.length <= content.length * maxGzippedPart ? gzipped : undefined,
    etag: `W/"${createHash('sha256').update(content).digest('base64url')}"`,
  };
}

/** A path that cannot be decoded is no file. */
function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return '';
  }
}
