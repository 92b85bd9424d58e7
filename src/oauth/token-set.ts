/** A successful token response (RFC 6749 5.1), read once where it arrives. */
export interface TokenSet {
  readonly accessToken: string;
  /** In lower case: `bearer`. */
  readonly tokenType: string;
  /** What was granted, not what was asked for. */
  readonly scope: readonly string[];
  /** When the response arrived, epoch milliseconds. */
  readonly issuedAt: number;
  /** Epoch milliseconds; absent when the server did not say, which means "until the API says 401". */
  readonly expiresAt?: number;
  readonly refreshToken?: string;
  readonly idToken?: string;
}

/** The members of a token response this app uses, as the protocol library hands them over. */
export interface TokenResponse {
  readonly access_token: string;
  readonly token_type: string;
  readonly expires_in?: number | undefined;
  readonly scope?: string | undefined;
  readonly refresh_token?: string | undefined;
  readonly id_token?: string | undefined;
}

const longestLeewayMs = 300_000;
const leewayShareOfLifetime = 0.2;

/**
 * A token response as a TokenSet. What the response leaves out stays as it was: in a refresh the `previous`
 * refresh token, ID token and scope (RFC 6749 6), in a first grant the scope that was `asked` for (5.1).
 * @param arrivedAt epoch milliseconds from which `expires_in` counts
 */
export function readTokenResponse(
  response: TokenResponse,
  arrivedAt: number,
  { asked = [], previous }: { readonly asked?: readonly string[]; readonly previous?: TokenSet },
): TokenSet {
  const refreshToken = response.refresh_token ?? previous?.refreshToken;
  const idToken = response.id_token ?? previous?.idToken;
  return {
    accessToken: response.access_token,
    tokenType: response.token_type.toLowerCase(),
    scope: response.scope?.split(' ').filter(Boolean) ?? previous?.scope ?? asked,
    issuedAt: arrivedAt,
    ...(response.expires_in !== undefined && { expiresAt: arrivedAt + response.expires_in * 1000 }),
    ...(refreshToken !== undefined && { refreshToken }),
    ...(idToken !== undefined && { idToken }),
  };
}

/**
 * The body of a token response without what real servers put there in vain: members that are `null` or empty,
 * an `expires_in` that is no number of seconds, an array for a scope, and (unless `idToken` may be used) an ID
 * token nobody asked for or nobody can check. The protocol library would refuse the whole response for any of them.
 */
export function tidyTokenResponse(body: unknown, idToken: 'use' | 'drop'): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body;
  const tidy: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(body)) {
    if (value === null) continue;
    if (value === '' && name !== 'scope') continue;
    if (name === 'id_token' && idToken === 'drop') continue;
    if (name === 'expires_in') {
      const seconds = typeof value === 'string' ? Number(value) : value;
      if (typeof seconds !== 'number' || !Number.isFinite(seconds)) continue;
      tidy[name] = Math.max(0, seconds);
    } else tidy[name] = name === 'scope' && Array.isArray(value) ? value.join(' ') : value;
  }
  return tidy;
}

/** How long before its end a token is renewed: a fifth of its lifetime, five minutes at the most. */
export function leewayMs({ issuedAt, expiresAt }: TokenSet): number {
  return expiresAt === undefined
    ? 0
    : Math.min(longestLeewayMs, (expiresAt - issuedAt) * leewayShareOfLifetime);
}

/** False once it is time to renew the access token, which an API may still take (see `isExpired`). */
export function isFresh(tokens: TokenSet, now: number): boolean {
  return tokens.expiresAt === undefined || tokens.expiresAt - now > leewayMs(tokens);
}

/** True once the access token's time is over; a token whose end was not said never expires. */
export function isExpired(tokens: TokenSet, now: number): boolean {
  return tokens.expiresAt !== undefined && tokens.expiresAt <= now;
}

/** True when every one of `scopes` was granted. */
export function hasScope(tokens: TokenSet, ...scopes: readonly string[]): boolean {
  return scopes.every((scope) => tokens.scope.includes(scope));
}
