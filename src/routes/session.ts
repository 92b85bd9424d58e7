import { type Request, type RequestHandler, type Response, Router } from 'express';
import type { Config } from '../config/load.ts';
import { AppError } from '../errors.ts';
import { isNavigation } from '../middleware/fetch-metadata.ts';
import { allowOnly } from '../middleware/http-methods.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { paths } from '../paths.ts';
import { type PageUserTags, readTagFromQuery } from '../session/page-user-tag.ts';
import type { Sessions } from '../session/session.ts';
import { describeSession } from '../session/session-info.ts';
import type { TokenManager } from '../tokens/token-manager.ts';

interface SessionParts {
  readonly config: Pick<Config, 'publicOrigin'>;
  readonly oauth: Pick<OAuthClient, 'getEndSessionUrl'>;
  readonly tokens: TokenManager;
  readonly sessions: Sessions;
  readonly pageUserTags: PageUserTags;
  readonly now: () => number;
}

/** `/auth/session`, `/auth/refresh` and `/auth/logout`: describe, refresh and end the session. */
export function createSessionRoutes(parts: SessionParts): RequestHandler {
  const { config, oauth, tokens, sessions, pageUserTags } = parts;
  const { publicOrigin } = config;

  /** Rejects a page rendered for one user from acting on the session of another, who signed in later. */
  const requireSameUser: RequestHandler = async function requireSameUser(req, _res, next) {
    const id = sessions.getSessionId(req);
    const login = id === undefined ? undefined : await tokens.peek(id);
    if (login) pageUserTags.check(req, id, login);
    next();
  };

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
    // If express-session has lost this session's data, saving would replace the session with a new one.
    if (req.sessionID === id) {
      req.session.flash = outcome instanceof AppError ? 'refresh_postponed' : 'refreshed';
      await sessions.save(req);
    }
    res.redirect(303, publicOrigin + paths.profile);
  }

  async function logout(req: Request, res: Response): Promise<void> {
    const id = sessions.getSessionId(req);
    const ended = id === undefined ? undefined : await tokens.end(id);
    await sessions.end(req, res);
    // `fetch` would follow a redirect to the provider's site and fail there; a user is meant to arrive there.
    const isScript = req.headers['sec-fetch-mode'] !== undefined && !isNavigation(req);
    if (isScript && prefersJson(req)) {
      res.status(204).end(); // a script of another origin could not read our pages
      return;
    }
    const endSession = ended && !isScript ? oauth.getEndSessionUrl() : undefined;
    res.redirect(303, endSession?.href ?? publicOrigin + paths.signedOut);
  }

  async function confirmLogout(req: Request, res: Response): Promise<void> {
    const id = sessions.getSessionId(req);
    const record = id === undefined ? undefined : await tokens.peek(id);
    if (id !== undefined && record)
      res.render('logout', { user: record.user, pageUserTag: pageUserTags.tagFor(id, record) });
    else res.redirect(303, publicOrigin + paths.signedOut);
  }

  const router = Router({ caseSensitive: true });
  router.route(paths.session).get(session).all(allowOnly('GET', 'HEAD'));
  router
    .route(paths.refresh)
    .post(readTagFromQuery, requireSameUser, sessions.load, refresh)
    .all(allowOnly('POST'));
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
