import type { AuditReason } from '../audit/audit-events.ts';
import type { Audit } from '../audit/audit-log.ts';
import { AppError } from '../errors.ts';
import { OAuthError } from '../oauth/oauth-error.ts';
import type { TokenRecord } from '../tokens/token-store.ts';
import type { LoginRequest } from './login-transaction.ts';

type RequestedLogin = Pick<LoginRequest, 'scope' | 'acrValues' | 'maxAge'>;

/** What is known about a login from the callback on. */
export interface LoginAttempt {
  request?: RequestedLogin;
  /** The session of the browser before this login. */
  oldId?: string | undefined;
  old?: TokenRecord | undefined;
}

/** Writes the events of logins; a login that asks more of a user who is signed in is also a step-up. */
export function createLoginAudit(audit: Pick<Audit, 'record'>) {
  return {
    started({ request, oldId, old }: LoginAttempt): void {
      audit.record('login_started', { sessionId: old && oldId, sub: old?.user.sub });
      if (isStepUp(request, old)) audit.record('step_up_requested', { sessionId: oldId, sub: old?.user.sub });
    },

    succeeded(
      { request, old }: LoginAttempt,
      sessionId: string,
      granted: Pick<TokenRecord, 'tokens' | 'user'>,
    ): void {
      const about = { sessionId, sub: granted.user.sub };
      audit.record('login_succeeded', about);
      if (!isStepUp(request, old)) return;
      // A missing authentication method or a sign-in that is too old has failed the login before.
      const isGranted = request?.scope.every((each) => granted.tokens.scope.includes(each));
      if (isGranted) audit.record('step_up_granted', about);
      else audit.record('step_up_declined', { reason: 'scope', ...about });
    },

    refused({ request, oldId, old }: LoginAttempt, failure: unknown): void {
      const about = { sessionId: old && oldId, sub: old?.user.sub };
      const cause = failure instanceof AppError ? failure.cause : failure;
      audit.record('login_refused', { reason: refusalOf(failure), ...about });
      if (isStepUp(request, old) && cause instanceof OAuthError)
        audit.record('step_up_declined', { reason: cause.kind, ...about });
    },

    /** A login whose state cannot be used, or that a sign-out has cancelled. */
    unusable(
      { oldId, old }: LoginAttempt,
      reason: Extract<AuditReason<'login_refused'>, `state_${string}` | 'signed_out'>,
    ): void {
      audit.record('login_refused', { reason, sessionId: old && oldId, sub: old?.user.sub });
    },
  };
}

function isStepUp(request: RequestedLogin | undefined, old: TokenRecord | undefined): boolean {
  if (!request || !old) return false;
  const { scope, acrValues, maxAge } = request;
  const knownScopes = new Set([...old.tokens.scope, ...(old.requested?.scope ?? [])]);
  const isScopeNew = scope.some((each) => !old.tokens.scope.includes(each));
  const isScopeRequestedAgain = scope.every((each) => knownScopes.has(each));
  return acrValues !== undefined || maxAge !== undefined || (isScopeNew && !isScopeRequestedAgain);
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
