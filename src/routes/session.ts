import { randomBytes } from 'node:crypto';
import { type Request, type RequestHandler, type Response, Router } from 'express';
import type { Config } from '../config/load.ts';
import { AppError } from '../errors.ts';
import { isNavigation } from '../middleware/fetch-metadata.ts';
import { allowOnly } from '../middleware/http-methods.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { paths } from '../paths.ts';
import type { FlashCookie } from '../session/flash.ts';
import type { DescribePageUser } from '../session/page-user.ts';
import { type PageUserTags, readTagFromQuery } from '../session/page-user-tag.ts';
import { createSameUserGuard } from '../session/require-same-user.ts';
import type { Sessions } from '../session/session.ts';
import { describeSession } from '../session/session-info.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { TokenRecord } from '../tokens/token-store.ts';
import { createSignOut, type SignOutParts } from './sign-out.ts';

interface SessionParts extends SignOutParts {
  readonly config: Pick<Config, 'publicUrl' | 'provider' | 'access'>;
  readonly oauth: Pick<OAuthClient, 'getEndSessionUrl'>;
  readonly tokens: TokenManager;
  readonly sessions: Sessions;
  readonly pageUserTags: PageUserTags;
  readonly describePageUser: DescribePageUser;
  readonly flash: Pick<FlashCookie, 'set'>;
}

/** `/auth/session`, `/auth/refresh` and `/auth/logout`: describe, refresh and end the session. */
export function createSessionRoutes(parts: SessionParts): RequestHandler {
  const { config, oauth, tokens, sessions, pageUserTags, describePageUser, flash } = parts;
  const { publicUrl } = config;
  const { logoutHint } = config.provider;

  const requireSameUser = createSameUserGuard(parts);
  const signOut = createSignOut(parts);

  async function session(req: Request, res: Response): Promise<void> {
    const id = sessions.getSessionId(req);
    res.json(id === undefined ? { authenticated: false } : await describeSession(parts, id));
  }

  async function refresh(req: Request, res: Response): Promise<void> {
    const id = sessions.getSessionId(req);
    const wantsJson = prefersJson(req);
    const outcome = id === undefined ? undefined : await tokens.refresh(id).catch(returnAppError);
    if (id === undefined || outcome === undefined) throw new AppError('login_required');
    if (outcome instanceof AppError && (wantsJson || outcome.code !== 'temporarily_unavailable'))
      throw outcome;
    if (wantsJson) {
      res.json(await describeSession(parts, id));
      return;
    }
    const login = await tokens.peek(id);
    const key = outcome instanceof AppError ? 'refresh_postponed' : 'refreshed';
    if (login) flash.set(res, { messages: [{ key }], userTag: pageUserTags.tagFor(id, login) });
    const isFromDeveloperPage = req.headers.referer === publicUrl + paths.developer;
    res.redirect(303, publicUrl + (isFromDeveloperPage ? paths.developer : paths.profile));
  }

  async function logout(req: Request, res: Response): Promise<void> {
    const ended = await signOut(req, res);
    // `fetch` would follow a redirect to the provider's site and fail there; a user is meant to arrive there.
    const isScript = req.headers['sec-fetch-mode'] !== undefined && !isNavigation(req);
    // A client that is no browser sends no Fetch Metadata, but also no `text/html` in `Accept`.
    if (prefersJson(req) && !isNavigation(req)) {
      res.status(204).end(); // a script of another origin could not read our pages
      return;
    }
    // The provider's session may be alive even if ours had expired before.
    const logoutState = randomBytes(16).toString('base64url');
    const endSession = isScript
      ? undefined
      : await oauth.getEndSessionUrl({ ...createHint(ended), state: logoutState });
    flash.set(res, { messages: [{ key: 'signed_out' }], userTag: undefined, logoutState });
    if (!endSession) return res.redirect(303, publicUrl + paths.signedOut);
    // Browsers apply the form's policy (`form-action`) to every redirect after it, and the provider may redirect to any
    // origin, so a page of ours continues with a link.
    res.render('signing-out', { redirectTo: endSession.href });
  }

  /** The parameters that identify the user at the end-session endpoint (OIDC RP-Initiated Logout 1.0 2). */
  function createHint(ended: TokenRecord | undefined): Readonly<Record<string, string>> {
    const { identity, tokens: endedTokens } = ended ?? {};
    if (logoutHint === 'id_token' && endedTokens?.idToken !== undefined)
      return { id_token_hint: endedTokens.idToken };
    const hint = identity?.loginHint ?? identity?.subject;
    return logoutHint === 'logout_hint' && hint !== undefined ? { logout_hint: hint } : {};
  }

  async function confirmLogout(req: Request, res: Response): Promise<void> {
    const id = sessions.getSessionId(req);
    const record = id === undefined ? undefined : await tokens.peek(id);
    if (id !== undefined && record) res.render('logout', describePageUser(id, record));
    else res.redirect(303, publicUrl + paths.signedOut);
  }

  const router = Router({ caseSensitive: true });
  router.route(paths.session).get(session).all(allowOnly('GET', 'HEAD'));
  router.route(paths.refresh).post(readTagFromQuery, requireSameUser, refresh).all(allowOnly('POST'));
  router
    .route(paths.logout)
    .get(confirmLogout)
    .post(readTagFromQuery, requireSameUser, sessions.load, logout)
    .all(allowOnly('GET', 'HEAD', 'POST'));
  return router;
}

function prefersJson(req: Request): boolean {
  return req.accepts(['html', 'json']) === 'json';
}

function returnAppError(error: unknown): unknown {
  return error instanceof AppError ? error : Promise.reject(error);
}
