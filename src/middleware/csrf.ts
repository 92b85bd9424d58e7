import type { Request, RequestHandler } from 'express';
import { AppError } from '../errors.ts';
import { isSafe } from './http-methods.ts';

/**
 * Rejects requests that another site made the browser send, by Fetch Metadata or else by `Origin`: `requireSameOrigin`
 * with any method, `requireSameOriginForUnsafeMethods` only with unsafe ones. Requests from `corsOrigins` are allowed,
 * as a page cannot forge its `Origin`.
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

  /**
   * Stricter, because browsers let every page open a WebSocket and read its messages. They always send `Origin` with
   * it, so only requests without any browser header may omit it.
   */
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
  /** Throws what `requireSameOriginForUnsafeMethods` throws, for callers that are not middleware. */
  function rejectUnsafeCrossOrigin(req: Request): void {
    if (!isSafe(req.method) && isCrossOrigin(req)) throw new AppError('cross_site_request');
  }

  const requireSameOriginForUnsafeMethods: RequestHandler = function requireSameOriginForUnsafeMethods(
    req,
    _res,
    next,
  ) {
    rejectUnsafeCrossOrigin(req);
    next();
  };
  return { requireSameOrigin, requireSameOriginForUnsafeMethods, rejectUnsafeCrossOrigin };
}
