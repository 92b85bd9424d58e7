import type { TokenSet } from '../oauth/token-set.ts';
import type { AppTokenManager } from '../tokens/app-token-manager.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { TokenRecord } from '../tokens/token-store.ts';

/** An access token (RFC 6750) and the way to replace it. */
export interface TokenSource {
  readonly accessToken: string;
  /** The session that the token belongs to; absent for an app token. */
  readonly sessionId?: string;
  /**
   * Resolves to a replacement after an API rejected this token (one refresh for all concurrent holders); `undefined` when
   * the user has to sign in again. Absent during the cooldown below: then the API's response is final.
   */
  readonly replace?: (() => Promise<TokenSource | undefined>) | undefined;
}

/** Cooldown after a rejected token was replaced or, without a refresh token, after the login. */
const replacementCooldownMs = 30_000;

interface UserTokenParts {
  readonly tokens: Pick<TokenManager, 'replaceRefused'>;
  readonly now: () => number;
}

/** The source of the user's access token of session `id`. */
export function createUserTokenSource(
  parts: UserTokenParts,
  id: string,
  { tokens: current, replacedAt = 0, signedInAt }: TokenRecord,
): TokenSource {
  const canRefresh = current.refreshToken !== undefined;
  const acquiredAt = canRefresh ? replacedAt : signedInAt;
  async function replace(): Promise<TokenSource | undefined> {
    const login = await parts.tokens.replaceRefused(id, current);
    return login && (canRefresh || login.tokens.accessToken !== current.accessToken)
      ? createUserTokenSource(parts, id, login)
      : undefined;
  }
  // The time of another instance, or of a clock that was set meanwhile, may be in the future.
  const canReplace = Math.abs(parts.now() - acquiredAt) >= replacementCooldownMs;
  return {
    accessToken: current.accessToken,
    sessionId: id,
    replace: canReplace ? replace : undefined,
  };
}

/** The source of the app token of `scope`. It can always be replaced: `appTokens` limits how often. */
export function createAppTokenSource(
  appTokens: Pick<AppTokenManager, 'replaceRefused'>,
  scope: readonly string[],
  current: TokenSet,
): TokenSource {
  return {
    accessToken: current.accessToken,
    replace: async () =>
      createAppTokenSource(appTokens, scope, await appTokens.replaceRefused(scope, current)),
  };
}
