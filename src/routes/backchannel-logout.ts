import { type Request, type RequestHandler, type Response, Router, urlencoded } from 'express';
import type { Config } from '../config/load.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { createBodyLimits } from '../middleware/body-limits.ts';
import { allowOnly } from '../middleware/http-methods.ts';
import type { LogoutToken } from '../oauth/jwt/logout-token.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { toOAuthError } from '../oauth/oauth-error.ts';
import { paths } from '../paths.ts';
import type { BackchannelLogout } from '../tokens/backchannel-logout.ts';

interface BackchannelLogoutRouteParts {
  readonly config: { readonly provider: Pick<Config['provider'], 'issuer' | 'scopes'> };
  readonly oauth: Pick<OAuthClient, 'verifyLogoutToken'>;
  readonly backchannelLogout: BackchannelLogout;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Logout tokens have one or two kilobytes. */
const maxBodyBytes = 16_384;
/**
 * More than for users, as all logouts come from the provider's address, and one that is refused may never be repeated.
 * Together they take 32 MiB. Strangers who send slowly must not take all the places: a provider sends at once.
 */
const maxBodies = { total: 2_048, perAddress: 1_024, patienceMs: 1_000 };
const formType = 'application/x-www-form-urlencoded';

/**
 * `/auth/backchannel-logout`: ends sessions when the provider says so (OpenID Connect Back-Channel Logout 1.0). The
 * signature of the token is the only proof that a request comes from the provider, so cookies, origin and address do not
 * matter, and everything before the check of the signature is cheap and limited.
 */
export function createBackchannelLogoutRoutes(parts: BackchannelLogoutRouteParts): RequestHandler {
  const { config, oauth, backchannelLogout, log, metrics } = parts;
  const limitBody = createBodyLimits({ getUserKey: async () => undefined, log, metrics, limits: maxBodies });
  const router = Router({ caseSensitive: true });
  const { issuer, scopes } = config.provider;
  if (!issuer || !scopes.includes('openid')) return router; // without ID tokens, no session is the provider's

  const requireForm: RequestHandler = function requireForm(req, _res, next) {
    if (!req.is(formType)) throw refuse(new Error(`the content type is not ${formType}`));
    // The parser would first wait for the end of such a body.
    if (Number(req.headers['content-length'] ?? 0) > maxBodyBytes) throw new AppError('payload_too_large');
    next();
  };

  async function receive(req: Request, res: Response): Promise<void> {
    res.set('Cache-Control', 'no-store');
    const token: unknown = req.body?.logout_token;
    if (typeof token !== 'string') throw refuse(new Error('the body has no logout_token, or several'));
    const verified = await verify(token);
    const ended = await backchannelLogout.receive(verified);
    if (ended === undefined) throw refuse(new Error('this logout token has been received before'));
    const by = verified.sid === undefined ? 'sub' : 'sid';
    req.log.info({ by, sessions: ended }, 'the provider has ended sessions');
    res.status(200).end();
  }

  async function verify(token: string): Promise<LogoutToken> {
    try {
      return await oauth.verifyLogoutToken(token);
    } catch (error) {
      const failure = toOAuthError(error);
      if (failure.kind === 'invalid_response') throw refuse(failure);
      // The provider's metadata or keys cannot be fetched, so that nobody knows whether the token is valid.
      const { retryAfterSeconds = 1 } = failure;
      throw new AppError('temporarily_unavailable', { cause: failure, retryAfterSeconds });
    }
  }

  const parse = urlencoded({
    ...{ extended: false, inflate: false },
    ...{ limit: maxBodyBytes, parameterLimit: 20 },
  });
  router.route(paths.backchannelLogout).post(requireForm, limitBody(parse), receive).all(allowOnly('POST'));
  return router;
}

function refuse(cause: Error): AppError {
  return new AppError('invalid_request', { cause });
}
