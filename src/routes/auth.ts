import { type Request, type RequestHandler, type Response, Router } from 'express';
import type { Config } from '../config.ts';
import { AppError } from '../errors.ts';
import type { OAuthClient } from '../oauth/client.ts';
import { readLoginRequirements } from '../oauth/login-requirements.ts';
import { type OAuthError, toOAuthError } from '../oauth/oauth-error.ts';
import type { SpentStates } from '../tokens/spent-states.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { TokenRecord } from '../tokens/token-store.ts';
import type { LoginTransaction, LoginTransactions, LoginWish } from '../web/login-transaction.ts';
import { allowOnly } from '../web/methods.ts';
import { isNavigation, isPrefetch } from '../web/navigation.ts';
import { safeReturnTo } from '../web/return-to.ts';
import type { Sessions } from '../web/session.ts';
import { type SessionMarks, takeMarkFromAddress } from '../web/session-mark.ts';
import { describeSession } from './session-description.ts';

interface AuthParts {
  readonly config: Config;
  readonly oauth: OAuthClient;
  readonly tokens: TokenManager;
  readonly sessions: Sessions;
  readonly marks: SessionMarks;
  readonly transactions: LoginTransactions;
  readonly spentStates: SpentStates;
  readonly now: () => number;
}

type Grant = Awaited<ReturnType<OAuthClient['authorizationCodeGrant']>>;

/** `/auth/*`: sign in with PKCE, come back, refresh, sign out, and who is signed in. */
export function createAuthRoutes(parts: AuthParts): RequestHandler {
  const { config, oauth, tokens, sessions, marks, transactions, spentStates } = parts;
  const { publicOrigin, corsOrigins, provider } = config;

  async function login(req: Request, res: Response): Promise<void> {
    if (isPrefetch(req) || (req.headers['sec-fetch-mode'] !== undefined && !isNavigation(req)))
      throw new AppError('login_required'); // only a person's own navigation starts a login
    const returnTo = safeReturnTo(req.query.return_to, publicOrigin, corsOrigins);
    const extra = readLoginRequirements(req.query);
    const isStepUp = extra.scope.length > 0 || extra.acrValues !== undefined || extra.maxAge !== undefined;
    const id = isStepUp ? sessions.idOf(req) : undefined;
    const held = id === undefined ? undefined : await tokens.peek(id);
    const scope = [...new Set([...provider.scopes, ...(held?.tokens.scope ?? []), ...extra.scope])];
    await toProvider(req, res, { ...extra, scope, returnTo, restarts: 0 });
  }

  async function toProvider(req: Request, res: Response, wish: LoginWish): Promise<void> {
    const transaction = transactions.begin(req, res, wish);
    const address = await oauth.authorizationRequest(transaction).catch((error) => {
      throw loginFailure(toOAuthError(error));
    });
    res.redirect(303, address.href);
  }

  async function callback(req: Request, res: Response): Promise<void> {
    const { wish, transaction } = transactions.accept(req, req.query.state);
    if (!transaction) return cameElsewhere(req, res, wish);
    const oldId = sessions.idOf(req);
    const old = oldId === undefined ? undefined : await tokens.peek(oldId); // before anything is spent
    const isFirst = req.query.code === undefined || (await spentStates.spend(transaction.nonce));
    if (!isFirst) return cameBackAgain(req, res, wish);

    const query = new URL(req.originalUrl, publicOrigin).searchParams;
    const grant = await oauth.authorizationCodeGrant(query, transaction).catch(async (error) => {
      const failure = toOAuthError(error);
      if (isPassing(failure)) await spentStates.giveBack(transaction.nonce); // a reload may try again
      throw loginFailure(failure);
    });

    await enter(req, grant, transaction, old);
    // Only now: until here the old login stands, whatever goes wrong.
    if (oldId !== undefined)
      await tokens.supersede(oldId, grant.user).catch((error) => {
        req.log.warn({ err: error }, 'an older login of this browser could not be ended; it ends by itself');
      });
    returnTo(res, transaction.returnTo);
  }

  /**
   * The person is signed in under a new session id, with what the session held if `old` is a login of theirs; or, when
   * the store goes away, everything is as it was.
   */
  async function enter(
    req: Request,
    { tokens: granted, user }: Grant,
    { scope, acrValues, maxAge }: LoginTransaction,
    old: TokenRecord | undefined,
  ): Promise<void> {
    const oldId = sessions.idOf(req);
    const isSamePerson = user.sub !== undefined && user.sub === old?.user.sub;
    const id = await sessions.start(req, {
      sub: user.sub,
      keepsData: isSamePerson && req.sessionID === oldId, // express-session may have lost what it held under that id
    });
    try {
      await tokens.establish(id, granted, user, {
        scope,
        ...(acrValues !== undefined && { acrValues }),
        ...(maxAge !== undefined && { maxAge }),
      });
      await sessions.save(req);
    } catch (error) {
      sessions.abandon(req);
      // Beside a login that stands, revoking could end that one too (decision 3).
      await tokens.discard(id, oldId === undefined ? granted : undefined);
      throw error;
    }
  }

  /** The back button, a reload, or a callback sent twice: its code is spent, so there is nothing more to gain. */
  async function cameBackAgain(req: Request, res: Response, wish: LoginWish): Promise<void> {
    const id = sessions.idOf(req);
    if (id !== undefined && (await tokens.peek(id))) return returnTo(res, wish.returnTo);
    if (wish.restarts > 0)
      throw new AppError('login_failed', {
        cause: new Error('a login came back twice without a session: does the browser keep our cookies?'),
      });
    await toProvider(req, res, { ...wish, restarts: wish.restarts + 1 });
  }

  /** Somebody's code may be in the address, so nothing of it is used; a login of this browser's own does no harm. */
  async function cameElsewhere(req: Request, res: Response, wish: LoginWish): Promise<void> {
    if (typeof req.query.code !== 'string')
      throw new AppError('invalid_state', { cause: new Error('the state is of another browser') });
    await cameBackAgain(req, res, wish);
  }

  function returnTo(res: Response, address: string): void {
    if (config.session.cookie.sameSite === 'lax') res.redirect(303, address);
    // A strict cookie stays out of a redirect chain that began at the provider; a step of our own page starts anew.
    else res.render('continue', { address });
  }

  /** A page of one person does nothing to the session of another, who signed in after it was opened. */
  const requireSamePerson: RequestHandler = async function requireSamePerson(req, _res, next) {
    const id = sessions.idOf(req);
    const login = id === undefined ? undefined : await tokens.peek(id);
    if (login) marks.check(req, id, login);
    next();
  };

  async function refresh(req: Request, res: Response): Promise<void> {
    const id = sessions.idOf(req);
    const wantsJson = prefersJson(req);
    const outcome = id === undefined ? undefined : await tokens.refresh(id).catch(asError);
    if (id === undefined || outcome === undefined) throw new AppError('login_required');
    if (outcome instanceof AppError && (wantsJson || outcome.code !== 'temporarily_unavailable'))
      throw outcome;
    if (wantsJson) {
      res.json(await describeSession(parts, id));
      return;
    }
    // A session that express-session has lost is still logged in, but a new one must not take its place.
    if (req.sessionID === id) {
      req.session.flash = outcome instanceof AppError ? 'refresh_put_off' : 'refreshed';
      await sessions.save(req);
    }
    res.redirect(303, `${publicOrigin}/profile`);
  }

  async function logout(req: Request, res: Response): Promise<void> {
    const id = sessions.idOf(req);
    const ended = id === undefined ? undefined : await tokens.end(id);
    await sessions.end(req, res);
    // `fetch` would follow into the provider's site and fail there; a person is meant to arrive there.
    const isScript = req.headers['sec-fetch-mode'] !== undefined && !isNavigation(req);
    if (isScript && prefersJson(req)) {
      res.status(204).end(); // of another origin: our pages, where a redirect leads, say nothing to it
      return;
    }
    const endSession = ended && !isScript ? oauth.endSessionUrl() : undefined;
    res.redirect(303, endSession?.href ?? `${publicOrigin}/signed-out`);
  }

  async function confirmLogout(req: Request, res: Response): Promise<void> {
    const id = sessions.idOf(req);
    const record = id === undefined ? undefined : await tokens.peek(id);
    if (id !== undefined && record)
      res.render('logout', { user: record.user, sessionMark: marks.of(id, record) });
    else res.redirect(303, `${publicOrigin}/signed-out`);
  }

  const auth = Router({ caseSensitive: true });
  const getOnly = allowOnly('GET'); // a HEAD must neither begin a login nor spend a code
  auth.route('/login').head(getOnly).get(login).all(getOnly);
  auth.route('/callback').head(getOnly).get(sessions.load, callback).all(getOnly);
  auth.use(takeMarkFromAddress);
  auth.route('/refresh').post(requireSamePerson, sessions.load, refresh).all(allowOnly('POST'));
  auth
    .route('/logout')
    .get(confirmLogout)
    .post(requireSamePerson, sessions.load, logout)
    .all(allowOnly('GET', 'HEAD', 'POST'));
  auth
    .route('/session')
    .get(async (req, res) => {
      const id = sessions.idOf(req);
      res.json(id === undefined ? { authenticated: false } : await describeSession(parts, id));
    })
    .all(allowOnly('GET', 'HEAD'));
  return auth;
}

function prefersJson(req: Request): boolean {
  return req.accepts(['html', 'json']) === 'json';
}

function asError(error: unknown): unknown {
  return error instanceof AppError ? error : Promise.reject(error);
}

function isPassing({ kind }: OAuthError): boolean {
  return kind === 'unavailable' || kind === 'outcome_unknown';
}

function loginFailure(failure: OAuthError): AppError {
  if (failure.kind === 'denied') return new AppError('access_denied', { cause: failure });
  return new AppError(
    isPassing(failure) || failure.kind === 'client' ? 'temporarily_unavailable' : 'login_failed',
    {
      cause: failure,
      ...(failure.retryAfterSeconds !== undefined && { retryAfterSeconds: failure.retryAfterSeconds }),
    },
  );
}
