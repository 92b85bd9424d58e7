import { realpath } from 'node:fs/promises';
import { basename, join, relative, sep } from 'node:path';
import compression from 'compression';
import type { Request, RequestHandler, Response } from 'express';
import Negotiator from 'negotiator';
import { AppError } from '../errors.ts';
import { isClientRoute } from './client-routes.ts';
import { createContentTags } from './content-tags.ts';
import { type FoundFile, findFile, findInside, isHidden, readSegments } from './find-file.ts';
import { isHashedName } from './hashed-name.ts';
import { sendFile } from './send-file.ts';

interface StaticFilesOptions {
  /** Absolute; it may be a symbolic link that a deployment changes. */
  readonly folder: string;
  readonly publicUrl: string;
  /** Source maps are for developers, and contain the source. */
  readonly servesSourceMaps: boolean;
  /** True if only signed-in users may load the files: no shared cache may store them. */
  readonly isPrivate: boolean;
}

const yearSeconds = 31_536_000;
/** The extensions of files that were compressed when they were built. */
const twinExtensions: ReadonlyMap<string, string> = new Map([
  ['br', '.br'],
  ['gzip', '.gz'],
]);

/**
 * The files of the front end in `folder`, and its `index.html` for client-side routes. Files that never change may be kept for
 * ever (`isHashedName`), all others are revalidated. Compressed as `Accept-Encoding` allows.
 * @throws AppError `method_not_allowed`, `invalid_request`, `not_found`, `temporarily_unavailable` (no `index.html`)
 */
export function createStaticFiles(options: StaticFilesOptions): RequestHandler {
  const { folder, publicUrl, servesSourceMaps, isPrivate } = options;
  const tagOf = createContentTags();
  const compress = compression({ filter: (_req, res) => res.statusCode === 200 });
  const scope = isPrivate ? 'private' : 'public';

  async function findIndex(root: string): Promise<FoundFile> {
    const index = await findInside(root, join(root, 'index.html'));
    if (index) return index;
    const cause = new Error('APP_DIR has no index.html now');
    throw new AppError('temporarily_unavailable', { cause, retryAfterSeconds: 1 });
  }

  /** The file compressed when it was built, if the client accepts it and it is not older than the file. */
  async function findTwin(root: string, file: FoundFile, accepted: readonly string[]) {
    for (const encoding of accepted) {
      const twin = await findInside(root, file.path + (twinExtensions.get(encoding) ?? ''));
      if (twin && twin.stats.mtimeMs >= file.stats.mtimeMs) return { file: twin, encoding };
    }
    return undefined;
  }

  /** @param url the path of the request, decoded */
  async function respond(
    req: Request,
    res: Response,
    { root, file, url }: { readonly root: string; readonly file: FoundFile; readonly url: string },
  ): Promise<void> {
    // Both, because either can be a link to the other.
    const isHashed = [url, relative(root, file.path).split(sep).join('/')].every(isHashedName);
    res.type(isJsonByName(url) ? 'json' : basename(file.path));
    res.setHeader(
      'Cache-Control',
      isHashed ? `${scope}, max-age=${yearSeconds}, immutable` : `${isPrivate ? 'private, ' : ''}no-cache`,
    );
    const etag = isHashed ? undefined : await tagOf(file);
    if (!compression.filter(req, res)) return sendFile(req, res, { file, etag, acceptRanges: true });
    res.vary('Accept-Encoding');
    const accepted = acceptedEncodings(req);
    const twin = await findTwin(root, file, accepted);
    if (twin) {
      res.setHeader('Content-Encoding', twin.encoding);
      return sendFile(req, res, { file: twin.file, etag, acceptRanges: false });
    }
    // A part of a compressed file and a part of the file are no parts of one representation.
    const isCompressed = accepted.length > 0;
    if (isCompressed) {
      [req.headers['accept-encoding']] = accepted; // `compression` would prefer gzip to br if both are equal to the client
      compress(req, res, () => {});
    }
    return sendFile(req, res, { file, etag, acceptRanges: !isCompressed });
  }

  return async function serveFile(req, res) {
    if (req.method !== 'GET' && req.method !== 'HEAD')
      throw new AppError('method_not_allowed', { allow: ['GET', 'HEAD'] });
    const segments = readSegments(req.url);
    if (isHidden(segments, servesSourceMaps)) throw new AppError('not_found');
    const root = await realpath(folder).catch(() => folder);
    const found = await findFile(segments, { root, servesSourceMaps });
    if (found === 'folder') return redirectToFolder(req, res);
    const url = `/${segments.join('/')}`;
    if (found) return respond(req, res, { root, file: found, url });
    if (!isClientRoute(req, url)) throw new AppError('not_found');
    return respond(req, res, { root, file: await findIndex(root), url });
  };

  function redirectToFolder(req: Request, res: Response): void {
    const { pathname, search } = new URL(req.originalUrl, publicUrl);
    res.redirect(301, `${publicUrl}${pathname}/${search}`);
  }
}

/** Files of `/.well-known/` need no extension, and are JSON with few exceptions; iOS requires the type. */
function isJsonByName(url: string): boolean {
  return /^\/(\.well-known\/[^.]+|apple-app-site-association)$/.test(url);
}

/** Compressions that the client prefers to none, best first; of equal ones, the one that saves more. */
function acceptedEncodings(req: Request): readonly string[] {
  const negotiator = new Negotiator(req);
  const preferred = ['br', 'gzip']; // the types of this package do not know the option
  const order: string[] = Reflect.apply(negotiator.encodings, negotiator, [
    [...preferred, 'identity'],
    { preferred },
  ]);
  const identity = order.indexOf('identity');
  return identity < 0 ? order : order.slice(0, identity);
}
