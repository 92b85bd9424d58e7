import type { DeviationName } from '../config/presets.ts';
import { applyDeviations } from './deviations.ts';
import { describeMismatch, OAuthError } from './oauth-error.ts';
import type { TokenSet } from './token-set.ts';

/** The members of a token response, as the protocol library returns them after `normalizeResponse`. */
export interface TokenResponse {
  readonly access_token: string;
  readonly expires_in?: number | undefined;
  readonly scope?: string | undefined;
  readonly refresh_token?: string | undefined;
  /** The `token_type` that the server sent, if it is not Bearer. */
  readonly received_token_type?: unknown;
  /** The ID token, which has not been checked yet. */
  readonly received_id_token?: unknown;
  /** The response's `Date`, epoch milliseconds. */
  readonly received_date?: unknown;
}

/** A longer lifetime is no statement about the token: servers send the largest number that they can for "never". */
const maxLifetimeSeconds = 100 * 365 * 86_400;

/**
 * A token response as a TokenSet, without its ID token. A refresh token, ID token or scope that a refresh response omits
 * is that of `previous` (RFC 6749 6); a scope that the response to another grant omits is the `requestedScope`
 * (RFC 6749 5.1).
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
  const idToken = previous?.idToken;
  return {
    accessToken: response.access_token,
    tokenType: 'bearer',
    scope: response.scope?.split(' ').filter(Boolean) ?? previous?.scope ?? requestedScope,
    issuedAt: arrivedAt,
    ...(response.expires_in !== undefined && { expiresAt: arrivedAt + response.expires_in * 1000 }),
    ...(refreshToken !== undefined && { refreshToken }),
    ...(idToken !== undefined && { idToken }),
  };
}

/**
 * Latchkey proves possession of no key, so it can use only Bearer tokens (RFC 6749 7.1: a client must not use a token of a
 * type that it does not understand).
 * @throws OAuthError `invalid_response`
 */
export function requireBearer({ received_token_type: received }: TokenResponse): void {
  if (received !== undefined)
    throw new OAuthError('invalid_response', describeMismatch('member token_type', 'Bearer', received));
}

/**
 * The HTTP response of the token endpoint in a form that the protocol library accepts: declared deviations corrected,
 * body normalized. `WWW-Authenticate` is removed: with it, the library would ignore the body with the error code,
 * although RFC 6749 5.2 requires servers to send both.
 * @throws OAuthError `outcome_unknown`: an error status with a body that is neither JSON nor empty, as from a firewall
 */
export async function normalizeResponse(
  response: Response,
  deviations: readonly DeviationName[],
): Promise<Response> {
  const text = await response.text();
  const headers = new Headers(response.headers);
  for (const name of ['www-authenticate', 'content-encoding', 'content-length']) headers.delete(name);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // RFC 6749 5.2: this is how a server answers a client that it cannot authenticate.
    if (response.status === 401 && text.trim() === '' && asksForBasic(response))
      return Response.json({ error: 'invalid_client' }, { status: 401, headers });
    const type = headers.get('content-type') ?? 'no content type';
    if (text.trim() !== '' && [400, 401, 403].includes(response.status))
      throw new OAuthError(
        'outcome_unknown',
        `HTTP ${response.status} with ${type}, which is not an OAuth response`,
      );
    headers.delete('content-type'); // the body is not JSON, whatever the header says
    return new Response(text === '' ? null : text, { status: response.status, headers });
  }
  const { status, body } = applyDeviations(deviations, response.status, json);
  const date = Date.parse(headers.get('date') ?? '');
  return Response.json(normalizeTokenResponse(body, Number.isNaN(date) ? undefined : date), {
    status,
    headers,
  });
}

/** The members that Latchkey and the library read; all others are ignored (RFC 6749 5.1). */
const knownMembers = new Set([
  ...['access_token', 'token_type', 'expires_in', 'refresh_token', 'scope', 'id_token'],
  ...['error', 'error_description'],
]);

/**
 * The known members of a token response without harmless defects of real servers, because the protocol library would
 * reject the whole response: members that are `null` or empty, an `expires_in` that states no lifetime, a scope sent as
 * an array, and a scope or refresh token of another type. The ID token and an unusual token type get other names, so that Latchkey checks them when the tokens
 * are safe: a refresh has spent the old refresh token.
 * @param date the response's `Date`, epoch milliseconds
 */
export function normalizeTokenResponse(body: unknown, date?: number): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body;
  const normalized: Record<string, unknown> = date === undefined ? {} : { received_date: date };
  for (const [name, value] of Object.entries(body)) {
    if (!knownMembers.has(name) || value === null) continue;
    if (typeof value === 'string' && value.trim() === '' && name !== 'scope') continue;
    if (name === 'id_token') normalized.received_id_token = value;
    else if (name === 'token_type' && !isBearer(value)) {
      normalized.received_token_type = value;
      normalized[name] = 'Bearer';
    } else if (name === 'expires_in') {
      const seconds = typeof value === 'string' ? Number(value) : value;
      if (typeof seconds === 'number' && seconds >= 0 && seconds <= maxLifetimeSeconds)
        normalized[name] = seconds;
    } else if (name === 'scope') {
      if (typeof value === 'string' || Array.isArray(value)) normalized[name] = [value].flat().join(' ');
    } else if (name === 'refresh_token') {
      if (typeof value === 'string' || Number.isSafeInteger(value)) normalized[name] = String(value);
    } else normalized[name] = value;
  }
  return normalized;
}

function asksForBasic({ headers }: Response): boolean {
  return headers.get('www-authenticate')?.toLowerCase().startsWith('basic') ?? false;
}

function isBearer(value: unknown): boolean {
  return typeof value === 'string' && value.toLowerCase() === 'bearer';
}
