import type { Request } from 'express';
import { AppError, type AppErrorOptions } from '../errors.ts';
import { fromAuthorizationResponse, type OAuthError } from '../oauth/oauth-error.ts';
import type { TokenRecord } from '../tokens/token-store.ts';
import type { LoginRequest, LoginTransactions, ReturnedLogin } from './login-transaction.ts';

/** True when the provider may accept the same request later. */
function isTransient({ kind }: OAuthError): boolean {
  return kind === 'unavailable' || kind === 'outcome_unknown';
}

/** Errors of an authorization response after which the provider may accept the same request later (RFC 6749 4.1.2.1). */
const outageCodes = new Set(['temporarily_unavailable', 'server_error']);

/**
 * The error of a login that failed at the provider: `access_denied`, `temporarily_unavailable` (the provider is
 * unreachable, or rejects our client), else `login_failed`.
 */
export function toLoginError(failure: OAuthError, options: Omit<AppErrorOptions, 'cause'> = {}): AppError {
  const isOutage =
    isTransient(failure) ||
    failure.kind === 'client_misconfigured' ||
    (failure.kind === 'authorization' && outageCodes.has(failure.code ?? ''));
  const code =
    failure.kind === 'denied' ? 'access_denied' : isOutage ? 'temporarily_unavailable' : 'login_failed';
  return new AppError(code, {
    ...options,
    cause: failure,
    ...(failure.retryAfterSeconds !== undefined && { retryAfterSeconds: failure.retryAfterSeconds }),
  });
}

/** For the error of a login: where it would have led, whether the user is signed in all the same, and what it requested. */
export function describeLogin(
  { returnTo, scope }: LoginRequest,
  old: Pick<TokenRecord, 'tokens'> | undefined,
): Pick<AppErrorOptions, 'returnTo' | 'isSignedIn' | 'scope'> {
  if (!old) return { returnTo };
  return { returnTo, isSignedIn: true, scope: scope.filter((each) => !old.tokens.scope.includes(each)) };
}

/** The same error, from whose page a new login leads to where this one would have led. */
export function withReturnTo(error: AppError, returnTo: string): AppError {
  return new AppError(error.code, {
    returnTo,
    cause: error.cause,
    ...(error.retryAfterSeconds !== undefined && { retryAfterSeconds: error.retryAfterSeconds }),
  });
}

/** What a provider returns for `prompt=none` if it would have to show a page (OIDC Core 3.1.2.6). */
export const interactionCodes: ReadonlySet<string> = new Set([
  'login_required',
  'interaction_required',
  'consent_required',
  'account_selection_required',
]);

/** The error for a callback that cannot be completed; its page leads to where the login would have led. */
export function createLoginFailure({ returnTo }: LoginRequest, message: string): AppError {
  return new AppError('login_failed', { returnTo, cause: new Error(message) });
}

/** The error in an authorization response (RFC 6749 4.1.2.1). */
export function readError({ query }: Request): OAuthError | undefined {
  const { error, error_description: text } = query;
  if (typeof error !== 'string') return undefined;
  return fromAuthorizationResponse(error, typeof text === 'string' ? text : undefined);
}

/**
 * The login that returned to the callback.
 * @throws AppError as `verify`, and for an error response without a state, which belongs to no login
 */
export function readReturnedLogin(
  req: Request,
  transactions: Pick<LoginTransactions, 'verify'>,
): ReturnedLogin {
  const failure = readError(req);
  if (req.query.state !== undefined || !failure) return transactions.verify(req, req.query.state);
  const { kind, message } = failure;
  throw new AppError(kind === 'denied' ? 'access_denied' : 'login_failed', {
    cause: new Error(`authorization response without a state: ${message}`),
  });
}
