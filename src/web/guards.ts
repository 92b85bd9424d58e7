import type { Request, RequestHandler } from 'express';
import { AppError } from '../errors.ts';
import { hasScope } from '../oauth/token-set.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { TokenRecord } from '../tokens/token-store.ts';

declare global {
  namespace Express {
    interface Request {
      /** Set by `requireToken`: what this request's session is logged in with. */
      login?: TokenRecord;
    }
  }
}

/**
 * `requireToken`: goes on with a valid access token in `req.login`, refreshed when need be.
 * @throws AppError `login_required`, `temporarily_unavailable`
 */
export function createRequireToken(
  tokens: Pick<TokenManager, 'current'>,
  idOf: (req: Request) => string | undefined,
): RequestHandler {
  return async function requireToken(req, _res, next) {
    const id = idOf(req);
    const login = id === undefined ? undefined : await tokens.current(id);
    if (!login) throw new AppError('login_required');
    req.login = login;
    next();
  };
}

/**
 * Goes on when every one of `scopes` was granted; stands behind `requireToken`.
 * @throws AppError `insufficient_scope` (RFC 6750 3.1)
 */
export function requireScope(...scopes: readonly string[]): RequestHandler {
  return function requireScope(req, _res, next) {
    if (!req.login) throw new AppError('login_required');
    if (!hasScope(req.login.tokens, ...scopes)) throw new AppError('insufficient_scope', { scope: scopes });
    next();
  };
}
