import { type Request, type RequestHandler, type Response, Router } from 'express';
import type { Config } from '../config/load.ts';
import { AppError } from '../errors.ts';
import type { ConsumedStates } from '../login/consumed-states.ts';
import type { LoginRequest, LoginTransaction, LoginTransactions } from '../login/login-transaction.ts';
import { createRedirectToProvider, isTransient, toLoginError } from '../login/redirect-to-provider.ts';
import { allowOnly } from '../middleware/http-methods.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { toOAuthError } from '../oauth/oauth-error.ts';
import { paths } from '../paths.ts';
import type { Sessions } from '../session/session.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { TokenRecord } from '../tokens/token-store.ts';

interface CallbackParts {
  readonly config: Pick<Config, 'publicOrigin' | 'session'>;
  readonly oauth: OAuthClient;
  readonly tokens: Pick<TokenManager, 'peek' | 'establish' | 'supersede' | 'discard'>;
  readonly sessions: Sessions;
  readonly transactions: LoginTransactions;
  readonly consumedStates: ConsumedStates;
}

type Grant = Awaited<ReturnType<OAuthClient['authorizationCodeGrant']>>;

/** `GET /auth/callback`: redeems the code, starts the session and returns the browser to where the login started. */
export function createCallbackRoutes(parts: CallbackParts): RequestHandler {
  const { config, oauth, tokens, sessions, transactions, consumedStates } = parts;
  const { publicOrigin } = config;
  const redirectToProvider = createRedirectToProvider(parts);

  async function callback(req: Request, res: Response): Promise<void> {
    const { loginRequest, transaction } = transactions.verify(req, req.query.state);
    if (!transaction) return handleCookieMismatch(req, res, loginRequest);
    const oldId = sessions.getSessionId(req);
    const old = oldId === undefined ? undefined : await tokens.peek(oldId); // fails before anything is consumed
    const isFirst = req.query.code === undefined || (await consumedStates.consume(transaction.nonce));
    if (!isFirst) return handleReplayedCallback(req, res, loginRequest);

    const query = new URL(req.originalUrl, publicOrigin).searchParams;
    const grant = await oauth.authorizationCodeGrant(query, transaction).catch(async (error) => {
      const failure = toOAuthError(error);
      if (isTransient(failure)) await consumedStates.release(transaction.nonce); // so that a reload can try again
      throw toLoginError(failure);
    });

    await startSession(req, grant, transaction, old);
    transactions.replaceCookie(res, transaction);
    // The old session is replaced last, so that it survives every failure before this line (decision 10).
    if (oldId !== undefined)
      await tokens.supersede(oldId, grant.user).catch((error) => {
        req.log.warn({ err: error }, 'failed to remove the previous session; it will expire on its own');
      });
    returnTo(res, transaction.returnTo);
  }

  /**
   * Starts a session under a new id. It keeps the session data when `old` belongs to the same user. When the store fails,
   * everything stays as it was.
   */
  async function startSession(
    req: Request,
    { tokens: granted, user }: Grant,
    { scope, acrValues, maxAge }: LoginTransaction,
    old: TokenRecord | undefined,
  ): Promise<void> {
    const oldId = sessions.getSessionId(req);
    const isSameUser = user.sub !== undefined && user.sub === old?.user.sub;
    const id = await sessions.start(req, {
      sub: user.sub,
      preserveData: isSameUser && req.sessionID === oldId, // express-session may have lost the data of that id
    });
    try {
      await tokens.establish(id, granted, user, {
        scope,
        ...(acrValues !== undefined && { acrValues }),
        ...(maxAge !== undefined && { maxAge }),
      });
      await sessions.save(req);
    } catch (error) {
      sessions.detach(req);
      await tokens.discard(id);
      throw error;
    }
  }

  /** The back button, a reload or a callback sent twice: its code is redeemed already, so it is not sent again. */
  async function handleReplayedCallback(
    req: Request,
    res: Response,
    loginRequest: LoginRequest,
  ): Promise<void> {
    const id = sessions.getSessionId(req);
    if (id !== undefined && (await tokens.peek(id))) return returnTo(res, loginRequest.returnTo);
    if (loginRequest.restarts > 0)
      throw new AppError('login_failed', {
        cause: new Error('callback received twice without a session: is the browser blocking our cookies?'),
      });
    await redirectToProvider(req, res, { ...loginRequest, restarts: loginRequest.restarts + 1 });
  }

  /** The code may belong to another user, so it is not redeemed; restarting the login in this browser is harmless. */
  async function handleCookieMismatch(
    req: Request,
    res: Response,
    loginRequest: LoginRequest,
  ): Promise<void> {
    if (typeof req.query.code !== 'string')
      throw new AppError('invalid_state', {
        cause: new Error('state was issued to a different browser (login cookie mismatch)'),
      });
    const id = sessions.getSessionId(req);
    const record = id === undefined ? undefined : await tokens.peek(id);
    // Another tab has signed in meanwhile, but without what this login was for.
    if (record && loginRequest.restarts === 0 && !includesRequest(record, loginRequest))
      await redirectToProvider(req, res, { ...loginRequest, restarts: 1 });
    else await handleReplayedCallback(req, res, loginRequest);
  }

  function returnTo(res: Response, url: string): void {
    if (config.session.cookie.sameSite === 'lax') res.redirect(303, url);
    // Browsers leave a Strict cookie out of a redirect chain that began at the provider; a page of ours starts a new one.
    else res.render('continue', { redirectTo: url });
  }

  const getOnly = allowOnly('GET'); // a HEAD request must not redeem a code
  const router = Router({ caseSensitive: true });
  router.route(paths.callback).head(getOnly).get(sessions.load, callback).all(getOnly);
  return router;
}

/** True when the login of `record` requested at least what `loginRequest` requests. */
function includesRequest(
  { requested, tokens }: TokenRecord,
  { scope, acrValues, maxAge }: LoginRequest,
): boolean {
  if (!requested) return true; // a record of an older version
  const scopes = new Set([...requested.scope, ...tokens.scope]);
  const isRecent = maxAge === undefined || (requested.maxAge !== undefined && requested.maxAge <= maxAge);
  return (
    scope.every((each) => scopes.has(each)) &&
    (acrValues === undefined || acrValues === requested.acrValues) &&
    isRecent
  );
}
