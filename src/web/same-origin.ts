import type { Request, RequestHandler } from 'express';
import { AppError } from '../errors.ts';
import { isSafe } from './methods.ts';

/**
 * Refuses what another site made the browser send: `requireSameOrigin` whatever the method,
 * `requireSameOriginToChange` unsafe methods only (Fetch Metadata, else `Origin`). A request whose `Origin` is one of
 * `corsOrigins` counts as ours: browsers let no page say that of another.
 * Browsers send `Origin` with every WebSocket, which `requireSameOrigin` insists on.
 * @throws AppError `cross_site_request`
 */
export function createSameOrigin(publicOrigin: string, corsOrigins: readonly string[] = []) {
  const admitted = new Set(corsOrigins);

  function isFromElsewhere(req: Request): boolean {
    const { origin } = req.headers;
    if (origin !== undefined && admitted.has(origin)) return false;
    const site = req.headers['sec-fetch-site'];
    if (site !== undefined) return site !== 'same-origin' && site !== 'none';
    return origin !== undefined && origin !== publicOrigin;
  }

  /** A WebSocket changes things and its answers can be read: only who sends no trace of a browser goes without. */
  function isWebSocketFromElsewhere({ headers }: Request): boolean {
    const { origin, 'sec-fetch-site': site } = headers;
    if (origin === undefined) return site !== undefined;
    if (admitted.has(origin)) return false;
    return origin !== publicOrigin || (site !== undefined && site !== 'same-origin');
  }

  const requireSameOrigin: RequestHandler = function requireSameOrigin(req, _res, next) {
    const isForeign = req.webSocketHandshake ? isWebSocketFromElsewhere(req) : isFromElsewhere(req);
    if (isForeign) throw new AppError('cross_site_request');
    next();
  };
  const requireSameOriginToChange: RequestHandler = function requireSameOriginToChange(req, _res, next) {
    if (!isSafe(req.method) && isFromElsewhere(req)) throw new AppError('cross_site_request');
    next();
  };
  return { requireSameOrigin, requireSameOriginToChange };
}
