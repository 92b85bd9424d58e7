/** A successful token response (RFC 6749 5.1), parsed. */
export interface TokenSet {
  readonly accessToken: string;
  /** In lower case: `bearer`. */
  readonly tokenType: string;
  /** The granted scope, which may differ from the requested scope. */
  readonly scope: readonly string[];
  /** When the response arrived, epoch milliseconds. */
  readonly issuedAt: number;
  /** Epoch milliseconds; absent when the server stated no lifetime, so the token is used until an API rejects it. */
  readonly expiresAt?: number;
  readonly refreshToken?: string;
  readonly idToken?: string;
}

const maxRefreshWindowMs = 300_000;
const refreshWindowShare = 0.2;

/** How long before its expiry an access token is refreshed: a fifth of its lifetime, at most five minutes. */
export function refreshWindowMs({ issuedAt, expiresAt }: TokenSet): number {
  return expiresAt === undefined
    ? 0
    : Math.min(maxRefreshWindowMs, (expiresAt - issuedAt) * refreshWindowShare);
}

/** False once the access token should be refreshed. An API may still accept it, until it `isExpired`. */
export function isFresh(tokens: TokenSet, now: number): boolean {
  return tokens.expiresAt === undefined || tokens.expiresAt - now > refreshWindowMs(tokens);
}

/** True once the access token has expired; one without a stated lifetime never does. */
export function isExpired(tokens: TokenSet, now: number): boolean {
  return tokens.expiresAt !== undefined && tokens.expiresAt <= now;
}

/** True when every one of `scopes` was granted. */
export function hasScope(tokens: TokenSet, ...scopes: readonly string[]): boolean {
  return scopes.every((scope) => tokens.scope.includes(scope));
}
