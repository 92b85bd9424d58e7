import { type Configuration, fetchProtectedResource, fetchUserInfo, skipSubjectCheck } from 'openid-client';
import type { ClaimMap } from '../config/field-types.ts';
import type { Logger } from '../logger.ts';
import type { Provider } from './metadata.ts';
import { OAuthError, toOAuthError } from './oauth-error.ts';
import { hasScope, type TokenSet } from './token-set.ts';

/** The user's standard claims (OIDC Core 5.1); every member may be missing. */
export interface User {
  readonly sub?: string;
  readonly name?: string;
  readonly email?: string;
  readonly picture?: string;
}

export type Claims = Readonly<Record<string, unknown>>;

/** The longest values that are stored, in characters: OIDC Core 2 for `sub`, RFC 5321 4.5.3.1 for an address. */
const maxLengths = { sub: 255, name: 255, email: 320, picture: 2_048 } as const;

/** The `User` in `claims`; values that are not strings, empty or too long are left out. */
export function readUser(claims: Claims): User {
  return Object.fromEntries(
    Object.entries(maxLengths).flatMap(([member, maxLength]) => {
      const value = claims[member];
      const isUsable = typeof value === 'string' && value !== '' && value.length <= maxLength;
      return isUsable ? [[member, value]] : [];
    }),
  );
}

/** The user, from the ID token and if necessary the userinfo endpoint. Missing claims never fail a login. */
export async function fetchUser(
  server: Configuration,
  provider: Provider,
  { tokens, claims }: { readonly tokens: TokenSet; readonly claims: Claims },
  log: Logger,
): Promise<User> {
  if (!needsUserinfo(server, provider, tokens, claims)) return readUser(claims);
  try {
    return readUser({ ...claims, ...(await fetchClaims(server, provider, tokens, claims)) });
  } catch (error) {
    const failure = toOAuthError(error);
    if (failure instanceof UnusableIdentifierError) throw failure;
    log.warn({ err: failure }, 'userinfo request failed; continuing the login without profile claims');
    return readUser(claims);
  }
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

/**
 * The claims that `map` finds in a response, under their OpenID Connect names (Core 5.1). Whole numbers are converted to
 * strings, because an `id` often is one; all other values except non-empty strings are left out.
 * @throws UnusableIdentifierError
 */
export function mapClaims(response: unknown, map: ClaimMap): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(map).flatMap(([claim, paths]) => {
      const found = paths
        .map((path) => toText(claim, path, valueAtPath(response, path)))
        .find((text) => text !== undefined);
      return found === undefined ? [] : [[claim, found]];
    }),
  );
}

/** @param path members and array indices, such as `images.0.url` */
function valueAtPath(response: unknown, path: string): unknown {
  let value = response;
  for (const member of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, member)) return undefined;
    value = Reflect.get(value, member);
  }
  return value;
}

function toText(claim: string, path: string, value: unknown): string | undefined {
  if (typeof value === 'string') return value === '' ? undefined : value;
  if (Number.isSafeInteger(value)) return String(value);
  // JSON.parse has rounded the number, so another user may have the same one.
  if (claim === 'sub' && typeof value === 'number') throw new UnusableIdentifierError(path);
  return undefined;
}

/** Two users could have this identifier, so nobody can sign in with it. */
export class UnusableIdentifierError extends OAuthError {
  constructor(path: string) {
    super(
      'invalid_response',
      `the userinfo member ${path} is a number that JavaScript cannot represent exactly: use a string member in OAUTH2_USERINFO_CLAIMS`,
    );
  }
}
