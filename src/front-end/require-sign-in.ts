import type { Request, RequestHandler } from 'express';
import { AppError } from '../errors.ts';
import type { SignInRedirect } from '../login/sign-in-redirect.ts';
import { isNavigation } from '../middleware/fetch-metadata.ts';
import { isSafe } from '../middleware/http-methods.ts';
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
  readonly redirectToSignIn: SignInRedirect['redirectToSignIn'];
  readonly publicUrl: string;
}

/**
 * Middleware for requests that need a session (`APP_REQUIRES_LOGIN`). Without one, a navigation goes to sign in, and returns
 * to its URL after the login.
 * @throws AppError `login_required` for anything but a navigation; `temporarily_unavailable` without the store
 */
export function createSignInGuard(parts: SignInParts): RequestHandler {
  const { tokens, getSessionId, redirectToSignIn, publicUrl } = parts;

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
    if (!isSafe(req.method)) throw new AppError('login_required'); // a redirect would lose the form
    const { pathname, search } = new URL(req.originalUrl, publicUrl);
    await redirectToSignIn(req, res, pathname + search);
  };
}
