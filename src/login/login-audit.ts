import type { AuditReason } from '../audit/audit-events.ts';
import type { Audit } from '../audit/audit-log.ts';
import { AppError } from '../errors.ts';
import type { UnredeemedLogin } from '../metrics/metrics.ts';
import { OAuthError } from '../oauth/oauth-error.ts';
import type { TokenRecord } from '../tokens/token-store.ts';
import type { LoginRequest } from './login-transaction.ts';

type RequestedLogin = Pick<LoginRequest, 'scope' | 'acrValues' | 'maxAge'>;

/** What is known about a login from the callback on. */
export interface LoginAttempt {
  /** The outcome has been counted, or the OAuth client and the store count it. */
  isCounted?: boolean;
  request?: RequestedLogin;
  /** The session of the browser before this login. */
  oldId?: string | undefined;
  old?: TokenRecord | undefined;
}

/**
 * Writes the events of logins; a login that asks more of a user who is signed in is also a step-up.
 * @param loginScopes the scopes of every login
 * @param countOutcome counts a login that ended before the response of the provider was used
 */
export function createLoginAudit(
  audit: Pick<Audit, 'record'>,
  loginScopes: readonly string[],
  countOutcome: (outcome: UnredeemedLogin | 'denied') => void = () => {},
) {
  function count(attempt: LoginAttempt, outcome: UnredeemedLogin | 'denied'): void {
    if (!attempt.request || attempt.isCounted) return; // without a valid state, it is no login of ours
    attempt.isCounted = true;
    countOutcome(outcome);
  }

  const about = ({ oldId, old }: LoginAttempt) => ({ sessionId: old && oldId, sub: old?.user.sub });

  /** The scopes that this login requests in addition; a provider may never grant some of those of every login. */
  function additionalScopes({ request, old }: LoginAttempt): readonly string[] {
    const known = new Set([...loginScopes, ...(old?.tokens.scope ?? [])]);
    return request?.scope.filter((each) => !known.has(each)) ?? [];
  }

  function isStepUp(attempt: LoginAttempt): boolean {
    const { request, old } = attempt;
    if (!request || !old) return false;
    const { acrValues, maxAge } = request;
    return acrValues !== undefined || maxAge !== undefined || additionalScopes(attempt).length > 0;
  }

  function refused(attempt: LoginAttempt, failure: unknown): void {
    const cause = failure instanceof AppError ? failure.cause : failure;
    const reason = refusalOf(failure);
    audit.record('login_refused', { reason, ...about(attempt) });
    const isOutcome = reason === 'incomplete_response' || reason === 'denied';
    count(attempt, isOutcome ? reason : 'not_sent');
    if (isStepUp(attempt) && cause instanceof OAuthError)
      audit.record('step_up_declined', { reason: cause.kind, ...about(attempt) });
  }

  return {
    started(attempt: LoginAttempt): void {
      audit.record('login_started', about(attempt));
      if (isStepUp(attempt)) audit.record('step_up_requested', about(attempt));
    },

    succeeded(
      attempt: LoginAttempt,
      sessionId: string,
      { tokens, user }: Pick<TokenRecord, 'tokens' | 'user'>,
    ): void {
      const granted = { sessionId, sub: user.sub };
      audit.record('login_succeeded', granted);
      if (!isStepUp(attempt)) return;
      // A missing authentication method or a sign-in that is too old has failed the login before.
      const hasAll = additionalScopes(attempt).every((each) => tokens.scope.includes(each));
      if (hasAll) audit.record('step_up_granted', granted);
      else audit.record('step_up_declined', { reason: 'scope', ...granted });
    },

    refused,

    /** Settles as `work`, a part of the login; when that fails, the login is refused. */
    async watch(attempt: LoginAttempt, work: Promise<void>): Promise<void> {
      try {
        await work;
      } catch (failure) {
        refused(attempt, failure);
        throw failure;
      }
    },

    /** A login whose state cannot be used, or that a sign-out has cancelled. */
    unusable(
      attempt: LoginAttempt,
      reason: Extract<AuditReason<'login_refused'>, `state_${string}` | 'signed_out'>,
    ): void {
      audit.record('login_refused', { reason, ...about(attempt) });
      count(attempt, reason);
    },
  };
}

function refusalOf(failure: unknown): AuditReason<'login_refused'> {
  if (failure instanceof OAuthError) return failure.kind;
  if (!(failure instanceof AppError)) return 'internal_error';
  if (failure.cause instanceof OAuthError) return failure.cause.kind;
  switch (failure.code) {
    case 'invalid_state':
      return 'invalid_state';
    case 'access_denied':
      return 'denied';
    case 'temporarily_unavailable':
      return 'store_unavailable';
    case 'login_required':
      return 'signed_out'; // the new session ended while it was established
    case 'login_failed':
      return 'incomplete_response';
    default:
      return 'internal_error';
  }
}
