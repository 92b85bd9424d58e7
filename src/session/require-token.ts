import type { Request, RequestHandler } from 'express';
import { AppError } from '../errors.ts';
import { isSafe } from '../middleware/http-methods.ts';
import type { TokenSet } from '../oauth/token-set.ts';
import type { AppTokenManager } from '../tokens/app-token-manager.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { TokenRecord } from '../tokens/token-store.ts';
import type { PageUserTags } from './page-user-tag.ts';
import type { TokenSource } from './token-source.ts';

declare global {
  namespace Express {
    interface Request {
      /** Set by `requireToken`: what this request's session is logged in with. */
      login?: TokenRecord;
      /** Set by the guards: the access token this request is forwarded with. */
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

/** For how long a login, or a token that came in place of a refused one, is not replaced because an API refuses it. */
const replacementCooldownMs = 30_000;

/**
 * - `requireToken`: goes on with the signed-in person's access token, refreshed when need be.
 * - `requireAppToken(...scope)`: goes on with the application's own (RFC 6749 4.4), whoever asks.
 * - `requireUserOrAppToken(...scope)`: the person's when somebody is signed in, else the application's own.
 * @throws AppError `login_required`, `session_changed`, `temporarily_unavailable`, `app_token_refused`
 */
export function createTokenGuards({ tokens, appTokens, pageUserTags, getSessionId, now }: TokenGuardParts) {
  async function loadLogin(req: Request): Promise<boolean> {
    const id = getSessionId(req);
    const login = id === undefined ? undefined : await tokens.current(id);
    pageUserTags.check(req, id, login);
    if (id === undefined || !login) return false;
    req.login = login;
    req.tokenSource = createUserTokenSource(id, login);
    return true;
  }

  /** What a session that is logged in calls APIs with. */
  function createUserTokenSource(
    id: string,
    { tokens: current, replacedAt = 0, signedInAt }: TokenRecord,
  ): TokenSource {
    const canRefresh = current.refreshToken !== undefined;
    const acquiredAt = canRefresh ? replacedAt : signedInAt;
    async function replace(): Promise<TokenSource | undefined> {
      const login = await tokens.replaceRefused(id, current);
      return login && (canRefresh || login.tokens.accessToken !== current.accessToken)
        ? createUserTokenSource(id, login)
        : undefined;
    }
    return {
      accessToken: current.accessToken,
      sessionId: id,
      ...(now() >= acquiredAt + replacementCooldownMs && { replace }),
    };
  }

  function createAppTokenSource(scope: readonly string[], current: TokenSet): TokenSource {
    return {
      accessToken: current.accessToken,
      replace: async () => createAppTokenSource(scope, await appTokens.replaceRefused(scope, current)),
    };
  }

  const requireToken: RequestHandler = async function requireToken(req, _res, next) {
    if (!(await loadLogin(req))) throw new AppError('login_required');
    next();
  };

  const requireAppToken = (...scope: readonly string[]): RequestHandler =>
    async function requireAppToken(req, _res, next) {
      req.tokenSource = createAppTokenSource(scope, await appTokens.current(scope));
      next();
    };

  const requireUserOrAppToken = (...scope: readonly string[]): RequestHandler =>
    async function requireUserOrAppToken(req, _res, next) {
      if (!(await loadLogin(req))) {
        // Whose session has ended means to act as themselves, not as the application.
        if (getSessionId(req) !== undefined && !isSafe(req.method)) throw new AppError('login_required');
        req.tokenSource = createAppTokenSource(scope, await appTokens.current(scope));
      }
      next();
    };

  return { createUserTokenSource, requireToken, requireAppToken, requireUserOrAppToken };
}
