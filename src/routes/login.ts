import { type Request, type RequestHandler, type Response, Router } from 'express';
import type { Config } from '../config/load.ts';
import { AppError } from '../errors.ts';
import type { LoginTransactions } from '../login/login-transaction.ts';
import { createRedirectToProvider } from '../login/redirect-to-provider.ts';
import { safeReturnTo } from '../login/return-url.ts';
import { isNavigation, isPrefetch } from '../middleware/fetch-metadata.ts';
import { allowOnly } from '../middleware/http-methods.ts';
import { readLoginRequirements } from '../oauth/login-requirements.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { paths } from '../paths.ts';
import type { Sessions } from '../session/session.ts';
import type { TokenManager } from '../tokens/token-manager.ts';

interface LoginParts {
  readonly config: Pick<Config, 'publicOrigin' | 'corsOrigins' | 'provider'>;
  readonly oauth: OAuthClient;
  readonly tokens: Pick<TokenManager, 'peek'>;
  readonly sessions: Pick<Sessions, 'getSessionId'>;
  readonly transactions: LoginTransactions;
}

/**
 * `GET /auth/login`: sends the browser to the provider. With `scope`, `acr_values` or `max_age` this is a step-up, which
 * also requests every scope that the session has already.
 */
export function createLoginRoutes(parts: LoginParts): RequestHandler {
  const { config, tokens, sessions } = parts;
  const { publicOrigin, corsOrigins, provider } = config;
  const redirectToProvider = createRedirectToProvider(parts);

  async function login(req: Request, res: Response): Promise<void> {
    if (isPrefetch(req) || (req.headers['sec-fetch-mode'] !== undefined && !isNavigation(req)))
      throw new AppError('login_required'); // only a navigation by the user starts a login
    const returnTo = safeReturnTo(req.query.return_to, publicOrigin, corsOrigins);
    const requirements = readLoginRequirements(req.query);
    const { scope: extraScope, acrValues, maxAge } = requirements;
    const isStepUp = extraScope.length > 0 || acrValues !== undefined || maxAge !== undefined;
    const id = isStepUp ? sessions.getSessionId(req) : undefined;
    const currentRecord = id === undefined ? undefined : await tokens.peek(id);
    const scope = [...new Set([...provider.scopes, ...(currentRecord?.tokens.scope ?? []), ...extraScope])];
    await redirectToProvider(req, res, { ...requirements, scope, returnTo, restarts: 0 });
  }

  const getOnly = allowOnly('GET'); // a HEAD request must not start a login
  const router = Router({ caseSensitive: true });
  router.route(paths.login).head(getOnly).get(login).all(getOnly);
  return router;
}
