import type { ClaimCheck } from '../claims/claim-check.ts';
import { AppError } from '../errors.ts';
import { OAuthError } from '../oauth/oauth-error.ts';
import type { LoginGrant } from '../oauth/userinfo.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { LoginAttempt } from './login-audit.ts';
import { toLoginError } from './login-errors.ts';
import { isSameUser } from './login-parameters.ts';

interface LoginGateParts {
  readonly findLoginRefusal: ClaimCheck | undefined;
  readonly tokens: Pick<TokenManager, 'discardGrant' | 'endBy'>;
}

/**
 * `requireAllowed(grant, attempt, returnTo)`: lets users in as LOGIN_ALLOWED says. What a refused login was granted is
 * revoked, and a session that the same user still has in this browser ends.
 * @throws AppError `login_not_allowed`; `temporarily_unavailable` if the provider could not say who the user is
 */
export function createLoginGate({ findLoginRefusal, tokens }: LoginGateParts) {
  return async function requireAllowed(
    { tokens: granted, user, claims, isIncomplete }: LoginGrant,
    { old, oldId }: LoginAttempt,
    returnTo: string,
  ): Promise<void> {
    const reason = findLoginRefusal?.(claims ?? { ...user });
    if (reason === undefined) return;
    tokens.discardGrant(granted);
    if (isIncomplete)
      throw toLoginError(new OAuthError('outcome_unknown', `no userinfo, and ${reason}`), { returnTo });
    if (oldId !== undefined && isSameUser(old, user)) await tokens.endBy(oldId, 'administrator');
    throw new AppError('login_not_allowed', { returnTo, cause: new Error(`LOGIN_ALLOWED: ${reason}`) });
  };
}
