import { setTimeout as delay } from 'node:timers/promises';
import { decodeJwt } from 'jose';
import { type Configuration, fetchProtectedResource, fetchUserInfo, skipSubjectCheck } from 'openid-client';
import { type Claims, hasValue } from '../claims/read-claim.ts';
import { lacksNeeded, limitClaims, mergeClaims } from '../claims/stored-claims.ts';
import type { ClaimMap } from '../config/field-types.ts';
import type { Logger } from '../logger.ts';
import type { Identity } from './id-token.ts';
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

/** Who the user is, and everything that the provider says about them. */
export interface UserClaims {
  readonly user: User;
  readonly claims: Claims;
  /** The names of the claims that the userinfo endpoint returned last. */
  readonly userinfoNames?: readonly string[];
}

/** What a login was granted, and to whom. */
export interface LoginGrant extends Pick<UserClaims, 'userinfoNames'> {
  readonly tokens: TokenSet;
  readonly user: User;
  /** What the provider says about the user; by default what `user` has. */
  readonly claims?: Claims;
  /** The userinfo endpoint could not be asked. */
  readonly isIncomplete?: true;
  readonly identity: Identity | undefined;
}

export interface ClaimReaderParts {
  readonly provider: Provider;
  /** The names of the claims that settings and rules depend on. */
  readonly needed: ReadonlySet<string>;
  readonly log: Logger;
}

/** A refresh has spent its refresh token, so its result is stored after this time at most. */
const maxFollowMs = 2_000;

/** Reads the claims of users, from ID tokens and if necessary the userinfo endpoint. */
export function createClaimReader({ provider, needed, log }: ClaimReaderParts) {
  const limit = (claims: Claims) =>
    limitClaims(claims, needed, (names) =>
      log.warn({ claims: names }, 'claims of a user are too long, and are not stored'),
    );

  return {
    /** The user of a login. Missing claims never fail it; `isIncomplete` if the userinfo endpoint could not say them. */
    async fetchUser(
      server: Configuration,
      { tokens, claims }: { readonly tokens: TokenSet; readonly claims: Claims },
    ): Promise<UserClaims & { readonly isIncomplete?: true }> {
      const elsewhere = Object.keys(Object(claims._claim_names)).filter((each) => needed.has(each));
      if (elsewhere.length > 0)
        log.warn(
          { claims: elsewhere },
          'the provider has put claims elsewhere, because there are too many (_claim_names); rules for them refuse this user',
        );
      const idToken = { user: readUser(claims), claims: limit(claims) };
      const isEnough = typeof claims.name === 'string' && !lacksNeeded(claims, needed);
      if (isEnough || !acceptsToken(server, provider, tokens)) return idToken;
      try {
        const { user, all } = await fetchClaims(server, provider, tokens, claims);
        const merged = limit(mergeClaims(claims, all));
        return { user: readUser({ ...claims, ...user }), claims: merged, userinfoNames: Object.keys(all) };
      } catch (error) {
        const failure = toOAuthError(error);
        if (failure instanceof UnusableIdentifierError) throw failure;
        log.warn({ err: failure }, 'userinfo request failed; continuing the login without profile claims');
        return { ...idToken, isIncomplete: true };
      }
    },

    /**
     * The claims after a refresh. A claim that the new ID token omits keeps its value, as the ID token of a refresh need not
     * have all (OIDC Core 12.2); one that came from the userinfo endpoint is gone when that endpoint no longer returns it.
     * Never rejects: what cannot be fetched keeps its value.
     */
    async followClaims(
      server: Configuration,
      known: UserClaims,
      previous: TokenSet,
      tokens: TokenSet,
    ): Promise<Partial<UserClaims>> {
      const { idToken } = tokens;
      const isNew = idToken !== undefined && idToken !== previous.idToken;
      const idTokenClaims = isNew ? decodeJwt(idToken) : undefined; // it has been verified
      const { sub } = known.user;
      const merged = idTokenClaims ? mergeClaims(known.claims, idTokenClaims) : known.claims;
      const user = {
        ...known.user,
        ...(idTokenClaims && readUser(idTokenClaims)),
        ...(sub !== undefined && { sub }),
      };
      const followed = { ...known, user, claims: limit(merged) };
      const isEnough = !lacksNeeded(idTokenClaims ?? {}, needed);
      if (isEnough || !acceptsToken(server, provider, tokens)) return isNew ? followed : {};
      try {
        const fetched = await Promise.race([
          fetchClaims(server, provider, tokens, { sub }),
          rejectAfter(maxFollowMs),
        ]);
        const { all } = fetched;
        const isGone = (name: string) =>
          known.userinfoNames?.includes(name) &&
          !Object.hasOwn(all, name) &&
          !hasValue(idTokenClaims?.[name]);
        const left = Object.fromEntries(Object.entries(merged).filter(([name]) => !isGone(name)));
        return {
          user: { ...user, ...readUser(fetched.user), ...(sub !== undefined && { sub }) },
          claims: limit(mergeClaims(left, all)),
          userinfoNames: Object.keys(all),
        };
      } catch (error) {
        log.warn(
          { err: toOAuthError(error) },
          'userinfo request failed after a refresh; the claims keep their values',
        );
        return isNew ? followed : {};
      }
    },
  };
}

async function rejectAfter(ms: number): Promise<never> {
  await delay(ms, undefined, { ref: false });
  throw new OAuthError('unavailable', 'the userinfo endpoint did not respond in time');
}

/** A configured userinfo endpoint accepts every token, a discovered one requires the scope `openid` (OIDC Core 5.3). */
function acceptsToken(server: Configuration, { endpoints }: Provider, tokens: TokenSet): boolean {
  const endpoint = server.serverMetadata().userinfo_endpoint;
  if (endpoint === undefined) return false;
  return endpoint === endpoints.userinfo_endpoint || hasScope(tokens, 'openid');
}

/**
 * What the userinfo endpoint returns (OIDC Core 5.3), mapped with OAUTH2_USERINFO_CLAIMS when it is set: the claims that
 * identify the user, and all.
 * Their `sub` must be that of the ID token, when there is one.
 * @throws OAuthError or an error of the protocol library
 */
async function fetchClaims(
  server: Configuration,
  { userinfoClaims }: Provider,
  { accessToken }: TokenSet,
  { sub }: Claims,
): Promise<{ readonly user: Claims; readonly all: Claims }> {
  const subject = typeof sub === 'string' ? sub : skipSubjectCheck;
  if (userinfoClaims) return fetchMappedClaims(server, accessToken, subject, userinfoClaims);
  const all: Claims = await fetchUserInfo(server, accessToken, subject);
  return { user: all, all };
}

async function fetchMappedClaims(
  server: Configuration,
  accessToken: string,
  subject: string | typeof skipSubjectCheck,
  map: NonNullable<Provider['userinfoClaims']>,
): Promise<{ readonly user: Claims; readonly all: Claims }> {
  const endpoint = new URL(server.serverMetadata().userinfo_endpoint ?? '');
  const headers = new Headers({ accept: 'application/json' });
  const response = await fetchProtectedResource(server, accessToken, endpoint, 'GET', null, headers);
  if (response.status !== 200) throw new OAuthError('rejected_other', `HTTP ${response.status}`);
  const body: unknown = await response.json();
  const claims = mapClaims(body, map);
  if (subject !== skipSubjectCheck && claims.sub !== undefined && claims.sub !== subject)
    throw new OAuthError('invalid_response', 'userinfo sub does not match the ID token sub');
  return { user: claims, all: { ...(Array.isArray(body) ? {} : Object(body)), ...claims } };
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
