import { type Request, type RequestHandler, type Response, Router } from 'express';
import type { ClaimCheck } from '../claims/claim-check.ts';
import type { ClaimRule } from '../claims/conditions.ts';
import { createIdentityHeaders } from '../claims/identity-headers.ts';
import type { Config } from '../config/load.ts';
import type { SessionTags } from '../crypto/session-tag.ts';
import type { SignInRedirect } from '../login/sign-in-redirect.ts';
import { allowOnly } from '../middleware/http-methods.ts';
import { toDisplayFields } from '../pages/display-fields.ts';
import { describePermissions } from '../pages/permissions.ts';
import { listSessionRows, type SessionRows } from '../pages/session-rows.ts';
import { describeTokens } from '../pages/token-panel.ts';
import { paths } from '../paths.ts';
import type { CallUpstream } from '../proxy/call-upstream.ts';
import type { StreamCounters } from '../proxy/stream-limits.ts';
import { CallAbort } from '../proxy/upstream/call-abort.ts';
import { identifyCaller } from '../proxy/upstream/circuit-breaker.ts';
import { createTimeoutError } from '../proxy/upstream/errors.ts';
import type { DescribePageUser } from '../session/page-user.ts';
import type { Sessions } from '../session/session.ts';
import { createUserTokenSource, type TokenSource } from '../session/token-source.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import { claimsOf, type TokenRecord } from '../tokens/token-store.ts';

interface ProfileParts {
  readonly config: Config;
  readonly tokens: TokenManager;
  readonly sessions: Sessions;
  readonly sessionTags: SessionTags;
  readonly describePageUser: DescribePageUser;
  readonly callUpstream: CallUpstream;
  readonly reserveConnection: StreamCounters['reserveConnection'];
  readonly createCheck: (rule: ClaimRule) => ClaimCheck;
  readonly now: () => number;
  readonly redirectToSignIn: SignInRedirect['redirectToSignIn'];
}

/** Shown above the list of fields, or among the technical details. */
const otherFields = new Set(['name', 'email', 'picture', 'sub']);
/** More than the fields of any profile; what is longer is an error of the API. */
const maxProfileBytes = 1_048_576;

/** The profile page: what is known about the user, what the app may do, and where they are signed in. */
export function createProfileRoutes(parts: ProfileParts): RequestHandler {
  const { config, tokens, sessions, describePageUser, callUpstream, reserveConnection, now } = parts;
  const { basePath } = config;
  const { redirectToSignIn } = parts;
  const { scopeLabels, hasDeveloperPage } = config.pages;
  const profileRoute = config.routes.find(
    ({ path, methods, token }) => path === '/profile' && methods.GET && token === 'user',
  );
  const profileRule = profileRoute?.methods.GET?.claims;
  const findProfileRefusal = profileRule && parts.createCheck(profileRule);

  async function renderProfile(req: Request, res: Response): Promise<void> {
    const id = sessions.getSessionId(req);
    const login = id === undefined ? undefined : await tokens.current(id);
    if (id === undefined || !login) return redirectToSignIn(req, res, basePath + req.originalUrl);
    const [sessionEndsAt, sessionRows, apiProfile] = await Promise.all([
      tokens.endsAt(id),
      loadSessionRows(req, id, login),
      loadApiProfile(login, createUserTokenSource(parts, id, login), req),
    ]);
    const pageUser = describePageUser(id, login);
    const { user, claims } = pageUser;
    const name = user.name ?? (typeof apiProfile?.name === 'string' ? apiProfile.name : undefined);
    const fields = toDisplayFields({ ...claims, ...apiProfile }).filter(({ key }) => !otherFields.has(key));
    const isProfileLoaded = apiProfile !== undefined;
    const panel = describeTokens(login, config, now());
    res.render('profile', {
      ...pageUser,
      name,
      fields,
      isProfileLoaded,
      panel,
      sessionEndsAt,
      sessionRows,
      permissions: describePermissions(panel, scopeLabels, res.locals.lang),
      hasDeveloperPage,
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
  router.route(paths.profile).get(renderProfile).all(allowOnly('GET', 'HEAD'));
  return router;
}
