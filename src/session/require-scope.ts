import type { RequestHandler } from 'express';
import { AppError } from '../errors.ts';
import { hasScope } from '../oauth/token-set.ts';
import type { TokenRecord } from '../tokens/token-store.ts';

/**
 * Middleware that accepts sessions with all of `scopes`. Mount it after `requireToken`.
 * @throws AppError `insufficient_scope` (RFC 6750 3.1)
 */
export function requireScope(...scopes: readonly string[]): RequestHandler {
  return function requireScope(req, _res, next) {
    if (!req.login) throw new AppError('login_required');
    if (!hasScope(req.login.tokens, ...scopes)) throw insufficientScope(scopes, req.login);
    next();
  };
}

/**
 * Middleware that accepts sessions with at least one of `scopes`. Mount it after `requireToken`.
 * @throws AppError `insufficient_scope` (RFC 6750 3.1), which lists all of `scopes`
 */
export function requireAnyScope(...scopes: readonly string[]): RequestHandler {
  return function requireAnyScope(req, _res, next) {
    const { login } = req;
    if (!login) throw new AppError('login_required');
    if (!scopes.some((each) => hasScope(login.tokens, each))) throw insufficientScope(scopes, login);
    next();
  };
}

/**
 * The error `insufficient_scope` for a session that lacks some of `scope`. It has `alreadyRequested` when the last login
 * requested every missing scope, so another login would not help.
 */
export function insufficientScope(scope: readonly string[], { tokens, requested }: TokenRecord): AppError {
  const missing = scope.filter((each) => !tokens.scope.includes(each));
  const alreadyRequested = missing.every((each) => requested?.scope.includes(each));
  return new AppError('insufficient_scope', {
    ...(scope.length > 0 && { scope }),
    alreadyRequested,
  });
}
