import { type Request, type RequestHandler, type Response, Router } from 'express';
import type { Config } from '../config/load.ts';
import type { SessionTags } from '../crypto/session-tag.ts';
import { AppError } from '../errors.ts';
import { isNavigation } from '../middleware/fetch-metadata.ts';
import { allowOnly } from '../middleware/http-methods.ts';
import { describeDevice } from '../pages/device-name.ts';
import { listSessionRows, type SessionRow, subjectOf } from '../pages/session-rows.ts';
import { paths } from '../paths.ts';
import type { FlashCookie, FlashMessage } from '../session/flash.ts';
import { type PageUserTags, readTagFromQuery } from '../session/page-user-tag.ts';
import type { Sessions } from '../session/session.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { TokenRecord } from '../tokens/token-store.ts';
import { createSignOut, type SignOutParts } from './sign-out.ts';

interface UserSessionParts extends SignOutParts {
  readonly config: Pick<Config, 'publicUrl'>;
  readonly tokens: TokenManager;
  readonly sessions: Sessions;
  readonly sessionTags: SessionTags;
  readonly pageUserTags: PageUserTags;
  readonly flash: Pick<FlashCookie, 'set'>;
}

interface CurrentSession {
  readonly id: string;
  readonly login: TokenRecord;
}

/** `/auth/sessions`: lists the sessions of the user who is signed in, and ends them. */
export function createUserSessionRoutes(parts: UserSessionParts): RequestHandler {
  const { config, tokens, sessions, sessionTags, pageUserTags, flash, now } = parts;
  const signOut = createSignOut(parts);

  /** @throws AppError `login_required`, `session_changed` */
  async function loadCurrent(req: Request): Promise<CurrentSession> {
    const id = sessions.getSessionId(req);
    const login = id === undefined ? undefined : await tokens.peek(id);
    pageUserTags.check(req, id, login);
    if (id === undefined || !login) throw new AppError('login_required');
    return { id, login };
  }

  /** The session of this user with the tag in the path. */
  async function findSession(req: Request, { id, login }: CurrentSession): Promise<string | undefined> {
    const tag = String(req.params.id);
    if (sessionTags.isTagOf(tag, id)) return id;
    const sub = subjectOf(login);
    const found = sub === undefined ? [] : await tokens.sessionsOf(sub, maxSearched);
    return found.find((each) => sessionTags.isTagOf(tag, each.id))?.id;
  }

  function showNext(res: Response, { id, login }: CurrentSession, message: FlashMessage): void {
    flash.set(res, { messages: [message], userTag: pageUserTags.tagFor(id, login) });
  }

  async function list(req: Request, res: Response): Promise<void> {
    const { id, login } = await loadCurrent(req);
    const { rows, hasMore } = await listSessionRows(parts, id, login);
    res.json({
      sessions: rows.map(toJson),
      has_more: hasMore,
      server_time: new Date(now()).toISOString(),
    });
  }

  async function end(req: Request, res: Response): Promise<void> {
    const current = await loadCurrent(req);
    const id = await findSession(req, current);
    if (id === undefined) throw new AppError('not_found');
    if (id === current.id) await signOut(req, res);
    else await tokens.endBy(id, 'user', current.id);
    res.status(204).end();
  }

  /** As `end`, for a form. */
  async function endAndReturn(req: Request, res: Response): Promise<void> {
    const current = await loadCurrent(req);
    const id = await findSession(req, current);
    if (id === current.id) {
      await signOut(req, res);
      return res.redirect(303, config.publicUrl + paths.signedOut);
    }
    const ended = id === undefined ? undefined : await tokens.endBy(id, 'user', current.id);
    const device = ended && describeDevice(ended.userAgent);
    showNext(res, current, device ? { key: 'session_ended', device } : { key: 'session_had_ended' });
    res.redirect(303, config.publicUrl + paths.profile);
  }

  async function endOthers(req: Request, res: Response): Promise<void> {
    const current = await loadCurrent(req);
    const { id, login } = current;
    const sub = subjectOf(login);
    const ended = sub === undefined ? 0 : await tokens.endAllOf({ sub }, 'user', id);
    if (!isNavigation(req)) {
      res.json({ ended });
      return;
    }
    showNext(res, current, { key: ended > 0 ? 'other_sessions_ended' : 'no_other_sessions' });
    res.redirect(303, config.publicUrl + paths.profile);
  }

  const router = Router({ caseSensitive: true });
  router.route(paths.sessions).get(list).all(allowOnly('GET', 'HEAD'));
  router.route(`${paths.sessions}/end-others`).post(readTagFromQuery, endOthers).all(allowOnly('POST'));
  router.route(`${paths.sessions}/:id`).delete(sessions.load, end).all(allowOnly('DELETE'));
  router
    .route(`${paths.sessions}/:id/end`)
    .post(readTagFromQuery, sessions.load, endAndReturn)
    .all(allowOnly('POST'));
  return router;
}

/** More than a list shows, as a page may be older than the latest sign-ins. */
const maxSearched = 1_000;

function toJson({ tag, isCurrent, device, signedInAt, lastUsedAt }: SessionRow) {
  const { browser = null, os = null, kind = null } = device;
  return {
    id: tag,
    current: isCurrent,
    browser,
    os,
    device: kind,
    signed_in_at: new Date(signedInAt).toISOString(),
    last_used_at: new Date(lastUsedAt).toISOString(),
  };
}
