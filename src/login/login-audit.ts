import { type AuditReason, auditEvents } from '../audit/audit-events.ts';
import type { Audit } from '../audit/audit-log.ts';
import { AppError } from '../errors.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { OAuthError } from '../oauth/oauth-error.ts';
import type { TokenRecord } from '../tokens/token-store.ts';
import type { LoginRequest } from './login-transaction.ts';

type RequestedLogin = Pick<LoginRequest, 'scope' | 'acrValues' | 'maxAge'>;

/** What a login that comes back from the provider can end with. */
const loginOutcomes = [
  'success',
  ...auditEvents.login_failed.reasons.filter((reason) => reason !== 'invalid_state'),
] as const;

/** What is known about a login from the callback on. */
export interface LoginAttempt {
  /** The outcome has been counted. */
  isCounted?: boolean;
  request?: RequestedLogin;
  /** The session of the browser before this login. */
  oldId?: string | undefined;
  old?: TokenRecord | undefined;
}

/**
 * Writes the events of logins; a login that asks more of a user who is signed in is also a step-up.
 * @param loginScopes the scopes of every login
 * @param logins counts each login that comes back from the provider, under the name that the audit log gives to its outcome
 */
export function createLoginAudit(
  audit: Pick<Audit, 'record'>,
  loginScopes: readonly string[],
  logins?: Metrics['logins'],
) {
  // From 0: the first failure must be visible as an increase.
  for (const outcome of loginOutcomes) logins?.({ outcome });

  function count(attempt: LoginAttempt, outcome: 'success' | AuditReason<'login_failed'>): void {
    if (!attempt.request || attempt.isCounted) return; // without a valid state, it is no login of ours
    attempt.isCounted = true;
    logins?.({ outcome }).increment();
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

  function failed(attempt: LoginAttempt, failure: unknown): void {
    const cause = failure instanceof AppError ? failure.cause : failure;
    const reason = failureReasonOf(failure);
    audit.record('login_failed', { reason, ...about(attempt) });
    count(attempt, reason);
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
      count(attempt, 'success');
      if (!isStepUp(attempt)) return;
      // A missing authentication method or a sign-in that is too old has failed the login before.
      const hasAll = additionalScopes(attempt).every((each) => tokens.scope.includes(each));
      if (hasAll) audit.record('step_up_granted', granted);
      else audit.record('step_up_declined', { reason: 'scope', ...granted });
    },

    failed,

    /** Settles as `work`, a part of the login; when that fails, so does the login. */
    async watch(attempt: LoginAttempt, work: Promise<void>): Promise<void> {
      try {
        await work;
      } catch (failure) {
        failed(attempt, failure);
        throw failure;
      }
    },

    /** A login whose state cannot be used, or that a sign-out has cancelled. */
    unusable(
      attempt: LoginAttempt,
      reason: Extract<AuditReason<'login_failed'>, `state_${string}` | 'signed_out'>,
    ): void {
      audit.record('login_failed', { reason, ...about(attempt) });
      count(attempt, reason);
    },
  };
}

function failureReasonOf(failure: unknown): AuditReason<'login_failed'> {
  if (failure instanceof OAuthError) return failure.kind;
  if (!(failure instanceof AppError)) return 'internal_error';
  if (failure.cause instanceof OAuthError) return failure.cause.kind;
  switch (failure.code) {
    case 'invalid_state':
      return 'invalid_state';
    case 'login_not_allowed':
      return 'not_allowed';
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
