import { type Request, type RequestHandler, type Response, Router } from 'express';
import type { Audit } from '../audit/audit-log.ts';
import type { ClaimCheck } from '../claims/claim-check.ts';
import type { Config } from '../config/load.ts';
import { AppError } from '../errors.ts';
import { createCancelledLogins } from '../login/cancelled-logins.ts';
import type { ConsumedStates } from '../login/consumed-states.ts';
import { createLoginAudit, type LoginAttempt } from '../login/login-audit.ts';
import {
  createLoginFailure,
  describeLogin,
  interactionCodes,
  readError,
  readReturnedLogin,
  toLoginError,
  withReturnTo,
} from '../login/login-errors.ts';
import { createLoginNote } from '../login/login-flash.ts';
import { createLoginGate } from '../login/login-gate.ts';
import { includesRequest, isSameUser, type LoginParameters } from '../login/login-parameters.ts';
import type {
  LoginRequest,
  LoginTransaction,
  LoginTransactions,
  ReturnedLogin,
} from '../login/login-transaction.ts';
import { createRedirectToProvider } from '../login/redirect-to-provider.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { allowOnly } from '../middleware/http-methods.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { type OAuthError, toOAuthError } from '../oauth/oauth-error.ts';
import type { LoginGrant, User } from '../oauth/userinfo.ts';
import { paths } from '../paths.ts';
import type { FlashCookie } from '../session/flash.ts';
import type { PageUserTags } from '../session/page-user-tag.ts';
import type { Sessions } from '../session/session.ts';
import type { ProviderLogouts } from '../tokens/provider-logouts.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { EndedBy, TokenRecord } from '../tokens/token-store.ts';

interface CallbackParts {
  readonly config: Pick<Config, 'publicUrl' | 'session' | 'provider'>;
  readonly oauth: OAuthClient;
  readonly tokens: TokenManager;
  readonly loginParameters: Pick<LoginParameters, 'restrict'>;
  readonly sessions: Sessions;
  readonly transactions: LoginTransactions;
  readonly flash: Pick<FlashCookie, 'set'>;
  readonly pageUserTags: Pick<PageUserTags, 'tagFor'>;
  readonly consumedStates: ConsumedStates;
  readonly providerLogouts: Pick<ProviderLogouts, 'isLoginEnded'>;
  readonly findLoginRefusal: ClaimCheck | undefined;
  readonly audit: Audit;
  readonly metrics: Pick<Metrics, 'logins'>;
}

/** `GET /auth/callback`: redeems the code, starts the session and returns the browser to where the login started. */
export function createCallbackRoutes(parts: CallbackParts): RequestHandler {
  const { config, oauth, tokens, sessions, loginParameters, transactions, consumedStates } = parts;
  const { publicUrl } = config;
  const requireAllowed = createLoginGate(parts);
  const redirectToProvider = createRedirectToProvider(parts);
  const { isCancelled, wasCancelled } = createCancelledLogins(parts);
  const noteLogin = createLoginNote(parts);
  const loginAudit = createLoginAudit(parts.audit, config.provider.scopes, parts.metrics.logins);

  async function callback(req: Request, res: Response): Promise<void> {
    const attempt: LoginAttempt = {};
    await loginAudit.watch(attempt, complete(req, res, attempt));
  }

  async function complete(req: Request, res: Response, attempt: LoginAttempt): Promise<void> {
    const login = readReturnedLogin(req, transactions);
    const { loginRequest, transaction } = login;
    attempt.request = loginRequest;
    const oldId = sessions.getSessionId(req);
    const old = oldId === undefined ? undefined : await tokens.peek(oldId); // fails before anything is consumed
    req.log.debug({ isSignedIn: old !== undefined }, 'login: the browser is back from the provider');
    Object.assign(attempt, { oldId, old });
    if (old) req.login = old; // for the error response
    const redirectToSignedOut = () => {
      loginAudit.unusable(attempt, 'signed_out');
      res.redirect(303, publicUrl + paths.signedOut);
    };
    if (transaction && (await isCancelled(transaction))) return redirectToSignedOut();
    const { code, error } = req.query;
    if (!error && typeof code !== 'string')
      throw createLoginFailure(loginRequest, 'the response has neither an error nor exactly one code');
    const isFirst =
      transaction !== undefined && (code === undefined || (await consumedStates.consume(transaction.nonce)));
    if (!isFirst) return handleUnusableLogin(req, res, login, attempt);

    const query = new URL(req.originalUrl, publicUrl).searchParams;
    let grant: LoginGrant;
    try {
      grant = await oauth.authorizationCodeGrant(query, transaction);
    } catch (failure) {
      if (await wasCancelled(transaction, req.log)) return redirectToSignedOut();
      return handleFailure(req, res, toOAuthError(failure), { transaction, loginRequest }, attempt);
    }
    await requireAllowed(grant, attempt, transaction.returnTo);
    const newId = await startSession(req, grant, transaction, old).catch((failure) => {
      throw failure instanceof AppError ? withReturnTo(failure, transaction.returnTo) : failure;
    });
    req.log.debug({ session: parts.audit.tagFor(newId) }, 'login: session started');
    loginAudit.succeeded(attempt, newId, grant);
    // The old session is replaced last, so that it survives every failure before this line (decision 10).
    const endedBy = oldId === undefined ? undefined : await endReplaced(req, oldId, newId, grant.user);
    delete req.login;
    // After the replacement: a sign-out that comes later than this check finds the new session through the old one.
    const wasSignedOut = await wasCancelled(transaction, req.log, grant.identity);
    const wasEnded = endedBy !== undefined && endedBy !== 'limit' && isSameUser(old, grant.user);
    if (wasSignedOut || wasEnded) {
      sessions.detach(req); // the browser may have the cookie of a later login
      await (wasEnded ? tokens.endBy(newId, endedBy) : tokens.end(newId));
      return res.redirect(303, publicUrl + paths.signedOut);
    }
    const isSignedIn = await tokens.enforceLimit(newId).catch((failure) => {
      req.log.warn({ err: failure }, 'failed to enforce SESSION_MAX_PER_USER; the next login will');
      return true;
    });
    if (!isSignedIn) sessions.detach(req); // the login that has ended it may be in another tab of this browser
    noteLogin(res, { sessionId: newId, grant, transaction, old });
    returnTo(res, transaction.returnTo);
  }

  /** Removes the previous session. @returns who has ended it from elsewhere, if somebody has */
  function endReplaced(req: Request, oldId: string, newId: string, user: User): Promise<EndedBy | undefined> {
    return tokens.endReplaced(oldId, newId, user).catch((failure) => {
      req.log.warn({ err: failure }, 'failed to remove the previous session; it will expire on its own');
      return undefined;
    });
  }

  async function handleFailure(
    req: Request,
    res: Response,
    failure: OAuthError,
    { transaction, loginRequest }: Required<Pick<ReturnedLogin, 'transaction' | 'loginRequest'>>,
    attempt: LoginAttempt,
  ): Promise<void> {
    const { code, kind } = failure;
    const isInteractionRequired = transaction.prompt === 'none' && interactionCodes.has(code ?? '');
    const isRestarted = code === 'authentication_expired' && transaction.restarts === 0;
    if (isInteractionRequired || isRestarted) loginAudit.failed(attempt, failure);
    if (isInteractionRequired) return returnTo(res, transaction.returnTo);
    if (isRestarted) return restart(req, res, loginRequest, attempt);
    if (kind === 'client_misconfigured' && code !== undefined)
      req.log.error(
        { err: failure },
        'the provider rejected our client credentials: check OAUTH2_CLIENT_ID and OAUTH2_CLIENT_SECRET',
      );
    // The code was not used, so that a reload can try again. After any other failure, a reload starts a new login.
    if (kind === 'unavailable') await consumedStates.release(transaction.nonce);
    else if (req.query.code !== undefined) await consumedStates.forgetSoon(transaction.nonce);
    throw toLoginError(failure, describeLogin(transaction, attempt.old));
  }

  /**
   * Starts a session under a new id. It keeps the session data when `old` belongs to the same user. When the store fails,
   * everything stays as it was.
   */
  async function startSession(
    req: Request,
    grant: LoginGrant,
    { scope, acrValues, maxAge }: LoginTransaction,
    old: TokenRecord | undefined,
  ): Promise<string> {
    const { user } = grant;
    const oldId = sessions.getSessionId(req);
    const id = await sessions.start(req, {
      sub: user.sub,
      preserveData: isSameUser(old, user) && sessions.read(req).id === oldId, // express-session may have lost the data of that id
    });
    try {
      const requested = {
        scope,
        ...(acrValues !== undefined && { acrValues }),
        ...(maxAge !== undefined && { maxAge }),
      };
      const userAgent = req.headers['user-agent'];
      await tokens.establish(id, grant, requested, {
        ...(userAgent !== undefined && { userAgent }),
        ...(oldId !== undefined && { replacedId: oldId }),
      });
      await sessions.save(req);
      return id;
    } catch (error) {
      sessions.detach(req);
      await tokens.discard(id);
      throw error;
    }
  }

  /**
   * A code that must not be redeemed: its state was used before (the back button, a reload), is too old (a second factor
   * that took long, a bookmark), or belongs to another login cookie; then the code may even belong to another user. A new
   * login in this browser is harmless.
   */
  async function handleUnusableLogin(
    req: Request,
    res: Response,
    { loginRequest, isForeign, transaction }: ReturnedLogin,
    attempt: LoginAttempt,
  ): Promise<void> {
    const current = attempt.old;
    // Somebody else's state can request no more than any link.
    const request = isForeign ? loginParameters.restrict(loginRequest) : loginRequest;
    // Another tab has signed in meanwhile, perhaps without what this login was for.
    const isDone = transaction || loginRequest.restarts > 0 || !current || includesRequest(current, request);
    const reason = isForeign ? 'state_of_other_browser' : transaction ? 'state_used' : 'state_expired';
    if (current && isDone) {
      loginAudit.unusable(attempt, reason);
      return returnTo(res, loginRequest.returnTo);
    }
    const failure = readError(req);
    if (failure?.kind === 'denied')
      throw toLoginError(failure, isForeign ? {} : describeLogin(loginRequest, current));
    if (loginRequest.restarts > 0)
      throw createLoginFailure(
        loginRequest,
        'the login could not be completed twice in a row: does the browser store our cookies, and are all clocks right?',
      );
    loginAudit.unusable(attempt, reason);
    await restart(req, res, request, attempt);
  }

  function restart(
    req: Request,
    res: Response,
    loginRequest: LoginRequest,
    attempt: LoginAttempt,
  ): Promise<void> {
    loginAudit.started(attempt);
    return redirectToProvider(req, res, { ...loginRequest, restarts: loginRequest.restarts + 1 });
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
