import type { Request, RequestHandler } from 'express';
import { AppError } from '../errors.ts';
import { isSafe } from '../middleware/http-methods.ts';
import type { AppTokenManager } from '../tokens/app-token-manager.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { TokenRecord } from '../tokens/token-store.ts';
import type { PageUserTags } from './page-user-tag.ts';
import { createAppTokenSource, createUserTokenSource, type TokenSource } from './token-source.ts';

declare global {
  namespace Express {
    interface Request {
      /** The token record of the session. Set by `requireToken`, and by `requireUserOrAppToken` if a user is signed in. */
      login?: TokenRecord;
      /** The token to forward the request with. Set by `requireToken`, `requireAppToken` and `requireUserOrAppToken`. */
      tokenSource?: TokenSource;
    }
  }
}

interface TokenGuardParts {
  readonly tokens: Pick<TokenManager, 'current' | 'replaceRefused'>;
  readonly appTokens: AppTokenManager;
  readonly pageUserTags: PageUserTags;
  readonly getSessionId: (req: Request) => string | undefined;
  readonly now: () => number;
}

/**
 * The middleware that loads the access token of a request, refreshed if necessary:
 *
 * - `requireToken`: the user's. Sets `req.login` and `req.tokenSource`.
 * - `requireAppToken(...scope)`: the app token (RFC 6749 4.4). Sets `req.tokenSource`.
 * - `requireUserOrAppToken(...scope)`: the first if a user is signed in, else the second.
 * @throws AppError `login_required`, `session_changed`, `temporarily_unavailable`, `app_token_refused`
 */
export function createTokenGuards(parts: TokenGuardParts) {
  const { tokens, appTokens, pageUserTags, getSessionId } = parts;

  /** True when a user is signed in; then `req.login` and `req.tokenSource` are set. */
  async function loadUserToken(req: Request): Promise<boolean> {
    const id = getSessionId(req);
    const login = id === undefined ? undefined : await tokens.current(id);
    pageUserTags.check(req, id, login);
    if (id === undefined || !login) return false;
    req.login = login;
    req.tokenSource = createUserTokenSource(parts, id, login);
    return true;
  }

  async function loadAppToken(req: Request, scope: readonly string[]): Promise<void> {
    req.tokenSource = createAppTokenSource(appTokens, scope, await appTokens.current(scope));
  }

  const requireToken: RequestHandler = async function requireToken(req, _res, next) {
    if (!(await loadUserToken(req))) throw new AppError('login_required');
    next();
  };

  const requireAppToken = (...scope: readonly string[]): RequestHandler =>
    async function requireAppToken(req, _res, next) {
      await loadAppToken(req, scope);
      next();
    };

  const requireUserOrAppToken = (...scope: readonly string[]): RequestHandler =>
    async function requireUserOrAppToken(req, _res, next) {
      if (!(await loadUserToken(req))) {
        // A request of an expired session was meant to act as the user, so it must not change data with the app token.
        if (getSessionId(req) !== undefined && !isSafe(req.method)) throw new AppError('login_required');
        await loadAppToken(req, scope);
      }
      next();
    };

  return { requireToken, requireAppToken, requireUserOrAppToken };
}
