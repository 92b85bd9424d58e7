import type { Request, RequestHandler } from 'express';
import { AppError } from '../errors.ts';
import { hasScope, type TokenSet } from '../oauth/token-set.ts';
import type { ClientCredentialsManager } from '../tokens/client-credentials.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { TokenRecord } from '../tokens/token-store.ts';
import type { Bearer } from './bearer.ts';
import { isSafe } from './methods.ts';
import type { SessionMarks } from './session-mark.ts';
import { insufficientScope } from './step-up.ts';

declare global {
  namespace Express {
    interface Request {
      /** Set by `requireToken`: what this request's session is logged in with. */
      login?: TokenRecord;
      /** Set by the guards: the access token this request is forwarded with. */
      bearer?: Bearer;
    }
  }
}

interface GuardParts {
  readonly tokens: Pick<TokenManager, 'current' | 'renewed'>;
  readonly appTokens: ClientCredentialsManager;
  readonly marks: SessionMarks;
  readonly idOf: (req: Request) => string | undefined;
  readonly now: () => number;
}

/** For how long a login, or a token that came in place of a refused one, is not replaced because an API refuses it. */
const replacedForMs = 30_000;

/**
 * - `requireToken`: goes on with the signed-in person's access token, refreshed when need be.
 * - `requireAppToken(...scope)`: goes on with the application's own (RFC 6749 4.4), whoever asks.
 * - `requireUserOrAppToken(...scope)`: the person's when somebody is signed in, else the application's own.
 * @throws AppError `login_required`, `session_changed`, `temporarily_unavailable`, `app_token_refused`
 */
export function createGuards({ tokens, appTokens, marks, idOf, now }: GuardParts) {
  async function signIn(req: Request): Promise<boolean> {
    const id = idOf(req);
    const login = id === undefined ? undefined : await tokens.current(id);
    marks.check(req, id, login);
    if (id === undefined || !login) return false;
    req.login = login;
    req.bearer = bearerOf(id, login);
    return true;
  }

  /** What a session that is logged in calls APIs with. */
  function bearerOf(id: string, { tokens: held, replacedAt = 0, signedInAt }: TokenRecord): Bearer {
    const canRefresh = held.refreshToken !== undefined;
    const cameAt = canRefresh ? replacedAt : signedInAt;
    async function renewed(): Promise<Bearer | undefined> {
      const login = await tokens.renewed(id, held);
      return login && (canRefresh || login.tokens.accessToken !== held.accessToken)
        ? bearerOf(id, login)
        : undefined;
    }
    return {
      accessToken: held.accessToken,
      sessionId: id,
      ...(now() >= cameAt + replacedForMs && { renewed }),
    };
  }

  function appBearer(scope: readonly string[], held: TokenSet): Bearer {
    return {
      accessToken: held.accessToken,
      renewed: async () => appBearer(scope, await appTokens.renewed(scope, held)),
    };
  }

  const requireToken: RequestHandler = async function requireToken(req, _res, next) {
    if (!(await signIn(req))) throw new AppError('login_required');
    next();
  };

  const requireAppToken = (...scope: readonly string[]): RequestHandler =>
    async function requireAppToken(req, _res, next) {
      req.bearer = appBearer(scope, await appTokens.current(scope));
      next();
    };

  const requireUserOrAppToken = (...scope: readonly string[]): RequestHandler =>
    async function requireUserOrAppToken(req, _res, next) {
      if (!(await signIn(req))) {
        // Whose session has ended means to act as themselves, not as the application.
        if (idOf(req) !== undefined && !isSafe(req.method)) throw new AppError('login_required');
        req.bearer = appBearer(scope, await appTokens.current(scope));
      }
      next();
    };

  return { bearerOf, requireToken, requireAppToken, requireUserOrAppToken };
}

/**
 * Goes on when every one of `scopes` was granted; stands behind `requireToken`.
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
 * Goes on when at least one of `scopes` was granted; stands behind `requireToken`.
 * @throws AppError `insufficient_scope` (RFC 6750 3.1), naming them all
 */
export function requireAnyScope(...scopes: readonly string[]): RequestHandler {
  return function requireAnyScope(req, _res, next) {
    const { login } = req;
    if (!login) throw new AppError('login_required');
    if (!scopes.some((each) => hasScope(login.tokens, each))) throw insufficientScope(scopes, login);
    next();
  };
}
