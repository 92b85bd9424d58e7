import type { Request, RequestHandler } from 'express';
import { AppError } from '../errors.ts';
import { isSafe } from './http-methods.ts';

/**
 * Refuses what another site made the browser send: `requireSameOrigin` whatever the method,
 * `requireSameOriginForUnsafeMethods` unsafe methods only (Fetch Metadata, else `Origin`). A request whose `Origin` is one of
 * `corsOrigins` counts as ours: browsers let no page say that of another.
 * Browsers send `Origin` with every WebSocket, which `requireSameOrigin` insists on.
 * @throws AppError `cross_site_request`
 */
export function createCsrfProtection(publicOrigin: string, corsOrigins: readonly string[] = []) {
  const allowedOrigins = new Set(corsOrigins);

  function isCrossOrigin(req: Request): boolean {
    const { origin } = req.headers;
    if (origin !== undefined && allowedOrigins.has(origin)) return false;
    const site = req.headers['sec-fetch-site'];
    if (site !== undefined) return site !== 'same-origin' && site !== 'none';
    return origin !== undefined && origin !== publicOrigin;
  }

  /** A WebSocket changes things and its answers can be read: only who sends no trace of a browser goes without. */
  function isCrossOriginWebSocket({ headers }: Request): boolean {
    const { origin, 'sec-fetch-site': site } = headers;
    if (origin === undefined) return site !== undefined;
    if (allowedOrigins.has(origin)) return false;
    return origin !== publicOrigin || (site !== undefined && site !== 'same-origin');
  }

  const requireSameOrigin: RequestHandler = function requireSameOrigin(req, _res, next) {
    const isCrossOriginRequest = req.webSocketHandshake ? isCrossOriginWebSocket(req) : isCrossOrigin(req);
    if (isCrossOriginRequest) throw new AppError('cross_site_request');
    next();
  };
  const requireSameOriginForUnsafeMethods: RequestHandler = function requireSameOriginForUnsafeMethods(
    req,
    _res,
    next,
  ) {
    if (!isSafe(req.method) && isCrossOrigin(req)) throw new AppError('cross_site_request');
    next();
  };
  return { requireSameOrigin, requireSameOriginForUnsafeMethods };
}
