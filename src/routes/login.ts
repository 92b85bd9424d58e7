import { type Request, type RequestHandler, type Response, Router } from 'express';
import type { Audit } from '../audit/audit-log.ts';
import type { Config } from '../config/load.ts';
import { AppError } from '../errors.ts';
import { createLoginAudit } from '../login/login-audit.ts';
import { isStepUp, type LoginParameters } from '../login/login-parameters.ts';
import type { LoginTransactions } from '../login/login-transaction.ts';
import { createRedirectToProvider } from '../login/redirect-to-provider.ts';
import { safeReturnTo } from '../login/return-url.ts';
import { isNavigation, isPrefetch } from '../middleware/fetch-metadata.ts';
import { allowOnly } from '../middleware/http-methods.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { paths } from '../paths.ts';
import type { PageUserTags } from '../session/page-user-tag.ts';
import type { Sessions } from '../session/session.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { TokenRecord } from '../tokens/token-store.ts';

interface LoginParts {
  readonly config: Pick<Config, 'publicUrl' | 'returnOrigins' | 'landingPath' | 'provider' | 'loginConfirm'>;
  readonly oauth: OAuthClient;
  readonly tokens: Pick<TokenManager, 'peek'>;
  readonly sessions: Pick<Sessions, 'getSessionId' | 'requireHttps'>;
  readonly pageUserTags: Pick<PageUserTags, 'tagsFor'>;
  readonly loginParameters: Pick<LoginParameters, 'read'>;
  readonly transactions: LoginTransactions;
  readonly audit: Audit;
}

/**
 * `GET /auth/login`: sends the browser to the provider; if another site's page led here, to the sign-in page first. With
 * `scope`, `acr_values` or `max_age` this is a step-up, which also requests every scope that the session has already.
 */
export function createLoginRoutes(parts: LoginParts): RequestHandler {
  const { config, tokens, sessions, pageUserTags, loginParameters } = parts;
  const { publicUrl, returnOrigins, landingPath, provider, loginConfirm } = config;
  const redirectToProvider = createRedirectToProvider(parts);
  const loginAudit = createLoginAudit(parts.audit, provider.scopes);

  async function login(req: Request, res: Response): Promise<void> {
    if (isPrefetch(req) || (req.headers['sec-fetch-mode'] !== undefined && !isNavigation(req)))
      throw new AppError('login_required'); // only a navigation by the user starts a login
    if (loginConfirm === 'cross-site' && req.headers['sec-fetch-site'] === 'cross-site') {
      const { search } = new URL(req.originalUrl, publicUrl);
      return res.redirect(303, publicUrl + paths.signIn + search);
    }
    const returnTo = safeReturnTo(req.query.return_to, publicUrl, returnOrigins, landingPath);
    const current = await loadSession(req);
    const { ignored, ...requested } = loginParameters.read(req.query, current?.userTags ?? []);
    if (ignored.length > 0)
      req.log.warn({ ignored }, 'a login link requested what neither the configuration nor an API requires');
    const currentScope = current && isStepUp(req.query) ? current.record.tokens.scope : [];
    const scope = [...new Set([...provider.scopes, ...currentScope, ...requested.scope])];
    const attempt = { request: { ...requested, scope }, oldId: current?.id, old: current?.record };
    loginAudit.started(attempt);
    const redirect = redirectToProvider(req, res, { ...requested, scope, returnTo, restarts: 0 });
    await loginAudit.watch(attempt, redirect);
  }

  /** The live session of the browser. Only a step-up depends on it; without the store, others begin without. */
  async function loadSession(req: Request) {
    const id = sessions.getSessionId(req);
    if (id === undefined) return undefined;
    const record: TokenRecord | undefined = await tokens.peek(id).catch((error) => {
      if (isStepUp(req.query)) throw error;
      return undefined;
    });
    return record && { id, record, userTags: pageUserTags.tagsFor(id, record) };
  }

  const getOnly = allowOnly('GET'); // a HEAD request must not start a login
  const router = Router({ caseSensitive: true });
  router.route(paths.login).head(getOnly).get(sessions.requireHttps, login).all(getOnly);
  return router;
}
