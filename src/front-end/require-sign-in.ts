import type { Request, RequestHandler } from 'express';
import { AppError } from '../errors.ts';
import { isNavigation } from '../middleware/fetch-metadata.ts';
import { isSafe } from '../middleware/http-methods.ts';
import { paths } from '../paths.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { TokenRecord } from '../tokens/token-store.ts';

declare global {
  namespace Express {
    interface Request {
      /** The session of a request to a front end that requires one. */
      frontEndSession?: { readonly id: string; readonly user: TokenRecord['user'] };
    }
  }
}

interface SignInParts {
  readonly tokens: Pick<TokenManager, 'current' | 'peek'>;
  readonly getSessionId: (req: Request) => string | undefined;
  /** The value of the login cookie, which a browser has for ten minutes after it has begun a login. */
  readonly getLoginBinding: (req: Request) => string | undefined;
  readonly publicUrl: string;
}

/**
 * Middleware for requests that need a session (`APP_REQUIRES_LOGIN`). Without one, a navigation goes to the provider, and returns
 * to its URL after the login. A browser that has begun a login already, or whose session has ended, goes to the sign-in page
 * instead, where the user continues: so nothing can send a browser in a circle.
 * @throws AppError `login_required` for anything but a navigation; `temporarily_unavailable` without the store
 */
export function createSignInGuard(parts: SignInParts): RequestHandler {
  const { tokens, getSessionId, getLoginBinding, publicUrl } = parts;

  /** The record of a live session. A page extends the session, as a call of the API does. */
  async function loadRecord(req: Request, id: string): Promise<TokenRecord | undefined> {
    if (!isNavigation(req)) return tokens.peek(id);
    return tokens.current(id).catch(() => tokens.peek(id)); // the front end needs no token, so no provider either
  }

  return async function requireSignIn(req, res, next) {
    const id = getSessionId(req);
    const record = id === undefined ? undefined : await loadRecord(req, id);
    res.vary('Cookie');
    if (id !== undefined && record) {
      req.frontEndSession = { id, user: record.user };
      return next();
    }
    if (!isNavigation(req) || !isSafe(req.method)) throw new AppError('login_required');
    const hasTried = id !== undefined || getLoginBinding(req) !== undefined;
    const { pathname, search } = new URL(req.originalUrl, publicUrl);
    const returnTo = new URLSearchParams({ return_to: pathname + search });
    res.setHeader('Cache-Control', 'no-store');
    res.redirect(303, `${publicUrl}${hasTried ? paths.signIn : paths.login}?${returnTo}`);
  };
}
