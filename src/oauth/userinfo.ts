import { type Configuration, fetchProtectedResource, fetchUserInfo, skipSubjectCheck } from 'openid-client';
import { mapClaims } from './claims.ts';
import type { Provider } from './metadata.ts';
import { OAuthError } from './oauth-error.ts';
import { hasScope, type TokenSet } from './token-set.ts';

/** The user's standard claims (OIDC Core 5.1); every member may be missing. */
export interface User {
  readonly sub?: string;
  readonly name?: string;
  readonly email?: string;
  readonly picture?: string;
}

export type Claims = Readonly<Record<string, unknown>>;

/** The `User` in `claims`; values that are not strings are left out. */
export function readUser(claims: Claims): User {
  const members = ['sub', 'name', 'email', 'picture'] as const;
  return Object.fromEntries(
    members.flatMap((member) => (typeof claims[member] === 'string' ? [[member, claims[member]]] : [])),
  );
}

/**
 * True when the ID token has no name and the userinfo endpoint accepts this token: a configured endpoint accepts every
 * token, a discovered one requires the scope `openid` (OIDC Core 5.3).
 */
export function needsUserinfo(
  server: Configuration,
  { endpoints }: Provider,
  tokens: TokenSet,
  idTokenClaims: Claims,
): boolean {
  const endpoint = server.serverMetadata().userinfo_endpoint;
  if (endpoint === undefined || typeof idTokenClaims.name === 'string') return false;
  return endpoint === endpoints.userinfo_endpoint || hasScope(tokens, 'openid');
}

/**
 * The claims that the userinfo endpoint returns (OIDC Core 5.3), mapped with OAUTH2_USERINFO_CLAIMS when it is set.
 * Their `sub` must be that of the ID token, when there is one.
 * @throws OAuthError or an error of the protocol library
 */
export function fetchClaims(
  server: Configuration,
  { userinfoClaims }: Provider,
  { accessToken }: TokenSet,
  { sub }: Claims,
): Promise<Claims> {
  const subject = typeof sub === 'string' ? sub : skipSubjectCheck;
  return userinfoClaims
    ? fetchMappedClaims(server, accessToken, subject, userinfoClaims)
    : fetchUserInfo(server, accessToken, subject);
}

async function fetchMappedClaims(
  server: Configuration,
  accessToken: string,
  subject: string | typeof skipSubjectCheck,
  map: NonNullable<Provider['userinfoClaims']>,
): Promise<Claims> {
  const endpoint = new URL(server.serverMetadata().userinfo_endpoint ?? '');
  const headers = new Headers({ accept: 'application/json' });
  const response = await fetchProtectedResource(server, accessToken, endpoint, 'GET', null, headers);
  if (response.status !== 200) throw new OAuthError('rejected_other', `HTTP ${response.status}`);
  const claims = mapClaims(await response.json(), map);
  if (subject !== skipSubjectCheck && claims.sub !== undefined && claims.sub !== subject)
    throw new OAuthError('invalid_response', 'userinfo sub does not match the ID token sub');
  return claims;
}
