import type { Request, Response } from 'express';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { toOAuthError } from '../oauth/oauth-error.ts';
import { toLoginError } from './login-errors.ts';
import type { LoginRequest, LoginTransactions } from './login-transaction.ts';

export type RedirectToProvider = (req: Request, res: Response, request: LoginRequest) => Promise<void>;

/**
 * `redirectToProvider(req, res, request)`: starts a login transaction and sends the browser to the authorization endpoint
 * (303).
 * @throws AppError as `toLoginError`
 */
export function createRedirectToProvider({
  oauth,
  transactions,
}: {
  readonly oauth: Pick<OAuthClient, 'createAuthorizationUrl'>;
  readonly transactions: Pick<LoginTransactions, 'create'>;
}): RedirectToProvider {
  return async function redirectToProvider(req, res, request) {
    const transaction = transactions.create(req, res, request);
    const url = await oauth.createAuthorizationUrl(transaction).catch((error) => {
      throw toLoginError(toOAuthError(error), { returnTo: request.returnTo });
    });
    const { scope, acrValues, maxAge, prompt, restarts } = request;
    req.log.debug(
      { scope, acrValues, maxAge, prompt, restarts },
      'login: sending the browser to the provider',
    );
    res.redirect(303, url.href);
  };
}
