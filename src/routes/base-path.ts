import type { Request, RequestHandler } from 'express';
import { AppError } from '../errors.ts';
import { paths } from '../paths.ts';

declare global {
  namespace Express {
    interface Request {
      /** True for a request outside the base path; its URL is unchanged. */
      isOutsideBasePath?: boolean;
      /** With the base path, if any. Only on requests of an app around Latchkey, whose pages may be outside the base path. */
      pageUrl?: string;
    }
  }
}

interface MountParts {
  /** `''`, or a path such as `/portal`. */
  readonly basePath: string;
  /** The public address: the origin, and the base path. */
  readonly publicUrl: string;
}

export interface Mount {
  /**
   * Middleware, first of all, that removes the base path from `url` and `originalUrl`, so that no other code has to know
   * it. None without a base path. In an outer Express app, which has removed its own path from `url` only, it works too;
   * whoever then calls the outer `next` has to restore both.
   */
  readonly enter: readonly RequestHandler[];
  /**
   * Middleware for all requests that were not below the base path. The base path itself leads to the home page, so that
   * relative links of a front end work.
   * @throws AppError `not_found`
   */
  readonly requireInside: readonly RequestHandler[];
}

/** What makes the app work below a base path: the requests that it gets. `Config.publicUrl` makes the addresses it sends. */
export function createMount({ basePath, publicUrl }: MountParts): Mount {
  if (basePath === '') return { enter: [], requireInside: [] };
  const prefix = `${basePath}/`;
  let hasWarned = false;

  function warnOnce(req: Request): void {
    if (hasWarned || !ownPath.test(req.originalUrl)) return;
    hasWarned = true;
    req.log.warn(
      { basePath },
      'a request outside the base path got 404; if a proxy removes the base path, let it pass the path on unchanged',
    );
  }

  return {
    enter: [
      function enter(req, _res, next) {
        const { originalUrl } = req;
        if (originalUrl.startsWith(prefix)) {
          const url = originalUrl.slice(basePath.length);
          req.url = url;
          req.originalUrl = url;
        } else req.isOutsideBasePath = true;
        next();
      },
    ],
    requireInside: [
      function requireInside(req, res, next) {
        if (!req.isOutsideBasePath) return next();
        const { originalUrl } = req;
        const isBasePath = originalUrl === basePath || originalUrl.startsWith(`${basePath}?`);
        if (isBasePath) return res.redirect(307, `${publicUrl}/${originalUrl.slice(basePath.length)}`);
        warnOnce(req);
        throw new AppError('not_found');
      },
    ],
  };
}

/** Paths that a proxy which removes the base path sends. */
const ownPath = new RegExp(`^(${paths.api}|/auth)/|^${paths.profile}([?/]|$)`);
