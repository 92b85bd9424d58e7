import type { DeviationName } from '../config/presets.ts';
import { applyDeviations } from './deviations.ts';
import type { TokenSet } from './token-set.ts';

/** The members of a token response that Latchkey uses, as the protocol library returns them. */
export interface TokenResponse {
  readonly access_token: string;
  readonly token_type: string;
  readonly expires_in?: number | undefined;
  readonly scope?: string | undefined;
  readonly refresh_token?: string | undefined;
  readonly id_token?: string | undefined;
}

/**
 * A token response as a TokenSet. A refresh token, ID token or scope that a refresh response omits is that of
 * `previous` (RFC 6749 6); a scope that the response to another grant omits is the `requestedScope` (RFC 6749 5.1).
 * @param arrivedAt epoch milliseconds, from which `expires_in` counts
 */
export function readTokenResponse(
  response: TokenResponse,
  arrivedAt: number,
  {
    requestedScope = [],
    previous,
  }: { readonly requestedScope?: readonly string[]; readonly previous?: TokenSet },
): TokenSet {
  const refreshToken = response.refresh_token ?? previous?.refreshToken;
  const idToken = response.id_token ?? previous?.idToken;
  return {
    accessToken: response.access_token,
    tokenType: response.token_type.toLowerCase(),
    scope: response.scope?.split(' ').filter(Boolean) ?? previous?.scope ?? requestedScope,
    issuedAt: arrivedAt,
    ...(response.expires_in !== undefined && { expiresAt: arrivedAt + response.expires_in * 1000 }),
    ...(refreshToken !== undefined && { refreshToken }),
    ...(idToken !== undefined && { idToken }),
  };
}

/**
 * The HTTP response of the token endpoint in a form that the protocol library accepts: declared deviations corrected,
 * body normalized. `WWW-Authenticate` is removed: with it, the library would ignore the body with the error code,
 * although RFC 6749 5.2 requires servers to send both.
 * @param idToken `drop` removes an ID token from the body
 */
export async function normalizeResponse(
  response: Response,
  deviations: readonly DeviationName[],
  idToken: 'use' | 'drop',
): Promise<Response> {
  const text = await response.text();
  const headers = new Headers(response.headers);
  for (const name of ['www-authenticate', 'content-encoding', 'content-length']) headers.delete(name);
  try {
    const { status, body } = applyDeviations(deviations, response.status, JSON.parse(text));
    return new Response(JSON.stringify(normalizeTokenResponse(body, idToken)), { status, headers });
  } catch {
    headers.delete('content-type'); // the body is not JSON, whatever the header says
    return new Response(text, { status: response.status, headers });
  }
}

/**
 * The body of a token response without harmless defects of real servers, because the protocol library would reject the
 * whole response: members that are `null` or empty, an `expires_in` that is not a number of seconds, a scope sent as an
 * array, and (with `drop`) an ID token that was not requested or cannot be checked.
 */
export function normalizeTokenResponse(body: unknown, idToken: 'use' | 'drop'): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body;
  const normalized: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(body)) {
    if (value === null) continue;
    if (value === '' && name !== 'scope') continue;
    if (name === 'id_token' && idToken === 'drop') continue;
    if (name === 'expires_in') {
      const seconds = typeof value === 'string' ? Number(value) : value;
      if (typeof seconds !== 'number' || !Number.isFinite(seconds)) continue;
      normalized[name] = Math.max(0, seconds);
    } else normalized[name] = name === 'scope' && Array.isArray(value) ? value.join(' ') : value;
  }
  return normalized;
}
