import { type Request, type Response, Router } from 'express';
import type { ClaimCheck } from '../claims/claim-check.ts';
import type { ClaimRule } from '../claims/conditions.ts';
import { createIdentityHeaders } from '../claims/identity-headers.ts';
import { selectClaims } from '../claims/read-claim.ts';
import type { Config } from '../config/load.ts';
import type { SessionTags } from '../crypto/session-tag.ts';
import type { SignInRedirect } from '../login/sign-in-redirect.ts';
import { allowOnly } from '../middleware/http-methods.ts';
import type { ConsoleRow } from '../pages/console-rows.ts';
import { toDisplayFields } from '../pages/display-fields.ts';
import { listSessionRows, type SessionRows } from '../pages/session-rows.ts';
import { describeTokens } from '../pages/token-panel.ts';
import { paths } from '../paths.ts';
import type { CallUpstream } from '../proxy/call-upstream.ts';
import type { StreamCounters } from '../proxy/stream-limits.ts';
import { CallAbort } from '../proxy/upstream/call-abort.ts';
import { identifyCaller } from '../proxy/upstream/circuit-breaker.ts';
import { createTimeoutError } from '../proxy/upstream/errors.ts';
import type { PageUserTags } from '../session/page-user-tag.ts';
import type { Sessions } from '../session/session.ts';
import { createUserTokenSource, type TokenSource } from '../session/token-source.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import { claimsOf, type TokenRecord } from '../tokens/token-store.ts';

interface PageParts {
  readonly config: Config;
  readonly tokens: TokenManager;
  readonly sessions: Sessions;
  readonly sessionTags: SessionTags;
  readonly pageUserTags: PageUserTags;
  readonly callUpstream: CallUpstream;
  readonly reserveConnection: StreamCounters['reserveConnection'];
  readonly createCheck: (rule: ClaimRule) => ClaimCheck;
  readonly now: () => number;
  readonly consoleRows: readonly ConsoleRow[];
  readonly redirectToSignIn: SignInRedirect['redirectToSignIn'];
}

/** Shown above the list of fields. */
const headingFields = new Set(['name', 'email', 'picture']);
/** More than the fields of any profile; what is longer is an error of the API. */
const maxProfileBytes = 1_048_576;

/** The pages: home and profile. `/favicon.ico` leads to the logo, for browsers that show JSON. */
export function createPageRoutes(parts: PageParts) {
  const { config, tokens, sessions, pageUserTags, callUpstream, reserveConnection, now, consoleRows } = parts;
  const { redirectToSignIn } = parts;
  const { basePath } = config;
  const profileRoute = config.routes.find(
    ({ path, methods, token }) => path === '/profile' && methods.GET && token === 'user',
  );

  const profileRule = profileRoute?.methods.GET?.claims;
  const findProfileRefusal = profileRule && parts.createCheck(profileRule);

  /** The user who is signed in; `undefined` also when the store is unavailable, so that public pages still work. */
  async function loadCurrentUser(req: Request) {
    const id = sessions.getSessionId(req);
    if (id === undefined) return undefined;
    const login = await tokens.peek(id).catch((error) => {
      req.log.warn({ err: error }, 'session store unavailable; rendering the page as signed out');
      return undefined;
    });
    return login && { user: login.user, pageUserTag: pageUserTags.tagFor(id, login) };
  }

  async function renderHome(req: Request, res: Response): Promise<void> {
    res.render('home', await loadCurrentUser(req));
  }

  async function renderProfile(req: Request, res: Response): Promise<void> {
    const id = sessions.getSessionId(req);
    const login = id === undefined ? undefined : await tokens.current(id);
    if (id === undefined || !login) return redirectToSignIn(req, res, basePath + req.originalUrl);
    const [sessionEndsAt, sessionRows, apiProfile] = await Promise.all([
      tokens.endsAt(id),
      loadSessionRows(req, id, login),
      loadApiProfile(login, createUserTokenSource(parts, id, login), req),
    ]);
    const { user } = login;
    const pageUserTag = pageUserTags.tagFor(id, login);
    const name = user.name ?? (typeof apiProfile?.name === 'string' ? apiProfile.name : undefined);
    const shown = selectClaims(claimsOf(login), config.access.sessionClaims);
    const fields = toDisplayFields({ ...shown, ...apiProfile }).filter(({ key }) => !headingFields.has(key));
    const isProfileLoaded = apiProfile !== undefined;
    const panel = describeTokens(login, config, now());
    res.render('profile', {
      user,
      pageUserTag,
      name,
      fields,
      isProfileLoaded,
      panel,
      sessionEndsAt,
      sessionRows,
      consoleRows,
    });
  }

  /** `undefined` if the list cannot be read, for example because one of the sessions was sealed with another secret. */
  function loadSessionRows(req: Request, id: string, login: TokenRecord): Promise<SessionRows | undefined> {
    return listSessionRows(parts, id, login).catch((error) => {
      req.log.warn(
        { err: error },
        'cannot list the sessions of the user; rendering the profile page without them',
      );
      return undefined;
    });
  }

  /** The response of the API behind `/api/profile`: `{}` without such a route, `undefined` if the call fails. */
  async function loadApiProfile(
    login: TokenRecord,
    tokenSource: TokenSource,
    req: Request,
  ): Promise<Readonly<Record<string, unknown>> | undefined> {
    if (!profileRoute || findProfileRefusal?.(claimsOf(login)) !== undefined) return {};
    let release: (() => void) | undefined;
    const abort = new CallAbort();
    const timer = setTimeout(() => abort.abort(createTimeoutError()), profileRoute.timeoutMs);
    try {
      const owner = { sessionId: tokenSource.sessionId, userId: login.user.sub, address: req.ip };
      release = reserveConnection(profileRoute.origin, owner);
      const response = await callUpstream({
        server: profileRoute,
        method: 'GET',
        path: profileRoute.targetPath + (profileRoute.targetQuery ? `?${profileRoute.targetQuery}` : ''),
        headers: {
          accept: 'application/json',
          ...profileRoute.headers,
          ...createIdentityHeaders(profileRoute.identityHeaders, claimsOf(login), () => {}),
        },
        tokenSource,
        caller: identifyCaller({ login, tokenSource }),
        body: null,
        abort,
      });
      const body: unknown = JSON.parse((await response.body.read(maxProfileBytes)).toString());
      if (response.statusCode !== 200 || typeof body !== 'object' || body === null)
        throw new Error(`unexpected response from the profile API (status ${response.statusCode})`);
      return { ...body };
    } catch (error) {
      req.log.warn({ err: error }, 'profile API call failed; rendering the profile page without it');
      return undefined;
    } finally {
      clearTimeout(timer);
      release?.();
    }
  }

  const router = Router({ caseSensitive: true });
  const readOnly = allowOnly('GET', 'HEAD');
  router
    .route(paths.favicon)
    .get((_req, res) => res.redirect(302, config.brand.logoUrl))
    .all(readOnly);
  router.route(paths.home).get(renderHome).all(readOnly);
  router.route(paths.profile).get(renderProfile).all(readOnly);
  return router;
}
