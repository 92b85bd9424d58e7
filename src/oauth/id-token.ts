import { createHash } from 'node:crypto';
import { errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose';
import { describeMismatch, OAuthError } from './oauth-error.ts';
import type { ProviderKeys } from './provider-keys.ts';

/** Who signed in, as the verified ID token of the login says (OIDC Core 2). */
export interface Identity {
  readonly issuer: string;
  readonly subject: string;
  readonly nonce?: string;
  /** The provider's session, for logout. */
  readonly sid?: string;
  /** How the user authenticated. */
  readonly acr?: string;
  /** When the user authenticated, seconds since the epoch by the provider's clock. */
  readonly authTime?: number;
  /** What `logout_hint` has to be, at providers that issue this claim. */
  readonly loginHint?: string;
}

/** What an ID token is checked against, besides the login or session it belongs to. */
export interface IdTokenVerifier {
  readonly clientId: string;
  /** The accepted issuers; `{tenantid}` stands for the token's `tid` (Microsoft Entra ID). */
  readonly issuers: readonly string[];
  readonly keys: Pick<ProviderKeys, 'getKey' | 'refetch'>;
  readonly clockToleranceSeconds: number;
}

/** A token response that has an ID token. */
export interface ReceivedIdToken {
  readonly idToken: string;
  readonly accessToken: string;
  /** When the response arrived, epoch milliseconds. */
  readonly arrivedAt: number;
  /** The response's `Date`, epoch milliseconds: by the provider's clock, which also wrote the ID token. */
  readonly serverTime: number | undefined;
}

/** What the ID token of a login has to prove. */
export interface LoginExpectations {
  /** When the login began, epoch milliseconds. */
  readonly requestedAt: number;
  readonly nonce: string;
  readonly isNonceOptional: boolean;
  /** The accepted authentication methods; every one if empty. */
  readonly acrValues: readonly string[];
  /** True if the ID token need not name its method, because the API that named `acrValues` checks it itself. */
  readonly isAcrOptional: boolean;
  /** How long before `requestedAt` the user may have authenticated, seconds. */
  readonly maxAge: number | undefined;
}

/** Algorithms with a public key. Those with a shared key (`HS256`) and `none` are never accepted. */
const asymmetricAlgorithms = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
];
/** How long before its request an ID token may have been issued: some providers repeat one for some minutes. */
const maxIssuedBeforeSeconds = 600;
/** OIDC Core 2 limits `sub` to 255 characters; the other claims have the same limit here. */
const maxClaimLength = 255;

/**
 * The verified claims of a login's ID token (OIDC Core 3.1.3.7).
 * @throws OAuthError `invalid_response`: the message names the claim, what was expected and what was received
 */
export async function verifyLogin(
  verifier: IdTokenVerifier,
  received: ReceivedIdToken,
  expected: LoginExpectations,
): Promise<{ readonly identity: Identity; readonly claims: JWTPayload }> {
  const { clockToleranceSeconds: tolerance } = verifier;
  const claims = await verify(verifier, received);
  const mayOmitNonce = expected.isNonceOptional && claims.nonce === undefined;
  if (!mayOmitNonce && claims.nonce !== expected.nonce)
    throw checkFailed('claim nonce does not belong to this login');
  // Ages are measured on the provider's clock, from the moment of the request: a slow second factor makes nothing older.
  const skewMs = received.arrivedAt - serverTimeOf(received);
  const requestedAt = Math.floor((expected.requestedAt - skewMs) / 1000);
  requireRecent(claims, requestedAt, tolerance);
  const { acr, auth_time: authTime } = claims;
  const mayOmitAcr = expected.isAcrOptional && acr === undefined;
  if (expected.acrValues.length > 0 && !mayOmitAcr && !expected.acrValues.includes(String(acr)))
    throw checkFailed(describeMismatch('claim acr', expected.acrValues, acr));
  if (authTime !== undefined && typeof authTime !== 'number')
    throw checkFailed(describeMismatch('claim auth_time', 'a number', authTime));
  if (expected.maxAge !== undefined) {
    const earliest = requestedAt - expected.maxAge - tolerance;
    if (authTime === undefined || authTime < earliest)
      throw checkFailed(describeMismatch('claim auth_time', `${earliest} or later`, authTime));
  }
  return { identity: readIdentity(claims), claims };
}

/**
 * Checks that the ID token of a refresh response belongs to the user of the session (OIDC Core 12.2).
 * @throws OAuthError as `verifyLogin`
 */
export async function verifyRefreshed(
  verifier: IdTokenVerifier,
  received: ReceivedIdToken,
  identity: Identity,
): Promise<void> {
  const claims = await verify({ ...verifier, issuers: [identity.issuer] }, received);
  requireRecent(claims, Math.floor(serverTimeOf(received) / 1000), verifier.clockToleranceSeconds);
  if (claims.sub !== identity.subject)
    throw checkFailed(describeMismatch('claim sub', identity.subject, claims.sub));
  const nonce = claims.nonce ?? ''; // a server that has no nonce may send an empty one
  if (nonce !== '' && nonce !== identity.nonce) throw checkFailed('claim nonce is not that of the login');
}

const serverTimeOf = ({ serverTime, arrivedAt }: ReceivedIdToken) => serverTime ?? arrivedAt;

/** Refuses an ID token that was issued long before the request that it answers, so it was issued for another one. */
function requireRecent({ iat }: JWTPayload, requestedAt: number, tolerance: number): void {
  const earliest = requestedAt - maxIssuedBeforeSeconds - tolerance;
  if (Number(iat) < earliest) throw checkFailed(describeMismatch('claim iat', `${earliest} or later`, iat));
}

/** The claims of an ID token whose signature, issuer, audience and times are right. */
async function verify(
  { clientId, issuers, keys, clockToleranceSeconds }: IdTokenVerifier,
  received: ReceivedIdToken,
): Promise<JWTPayload> {
  const { idToken, accessToken } = received;
  const now = serverTimeOf(received);
  const { payload, protectedHeader } = await verifySignature(idToken, keys, {
    algorithms: asymmetricAlgorithms,
    audience: clientId,
    requiredClaims: ['iss', 'sub', 'aud', 'exp', 'iat'],
    clockTolerance: clockToleranceSeconds,
    currentDate: new Date(now),
  });
  const { iss, sub, aud, iat, tid } = payload;
  const [azp, atHash] = [payload.azp ?? undefined, payload.at_hash ?? undefined]; // some servers send null
  // A function, because the characters `$&` in a string would have a meaning.
  const expected = issuers.map((each) =>
    typeof tid === 'string' ? each.replace('{tenantid}', () => tid) : each,
  );
  if (!expected.includes(String(iss))) throw checkFailed(describeMismatch('claim iss', expected[0], iss));
  const isForSeveral = Array.isArray(aud) && aud.length > 1;
  if ((azp !== undefined || isForSeveral) && azp !== clientId)
    throw checkFailed(describeMismatch('claim azp', clientId, azp));
  if (typeof sub !== 'string' || sub === '' || sub.length > maxClaimLength)
    throw checkFailed(describeMismatch('claim sub', `1 to ${maxClaimLength} characters`, sub));
  if (Number(iat) > now / 1000 + clockToleranceSeconds)
    throw checkFailed(`${describeMismatch('claim iat', Math.floor(now / 1000), iat)}: do the clocks differ?`);
  if (atHash !== undefined && atHash !== hashAccessToken(accessToken, protectedHeader.alg))
    throw checkFailed('claim at_hash does not belong to the access token');
  return payload;
}

async function verifySignature(idToken: string, keys: IdTokenVerifier['keys'], options: JWTVerifyOptions) {
  try {
    return await verifyWithKeys(idToken, keys, options).catch(async (error: unknown) => {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
      await keys.refetch();
      return verifyWithKeys(idToken, keys, options);
    });
  } catch (error) {
    throw toCheckError(error, options);
  }
}

async function verifyWithKeys(
  idToken: string,
  { getKey }: IdTokenVerifier['keys'],
  options: JWTVerifyOptions,
) {
  try {
    return await jwtVerify(idToken, getKey, options);
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    // The token does not say with which of several keys it was signed (RFC 7515 4.1.4).
    for await (const key of error) {
      const result = await jwtVerify(idToken, key, options).catch((failure: unknown) => {
        if (!(failure instanceof errors.JWSSignatureVerificationFailed)) throw failure;
      });
      if (result) return result;
    }
    throw new errors.JWSSignatureVerificationFailed();
  }
}

/** The error of the JOSE library with the claim's value, which is not in its message. */
function toCheckError(error: unknown, { currentDate, audience }: JWTVerifyOptions): unknown {
  if (!(error instanceof errors.JOSEError)) return error; // the keys cannot be fetched
  if (!(error instanceof errors.JWTClaimValidationFailed || error instanceof errors.JWTExpired))
    return checkFailed(`${error.code}: ${error.message}`);
  const { claim, payload } = error;
  if (claim === 'aud') return checkFailed(describeMismatch('claim aud', audience, payload.aud));
  const isTime = claim === 'exp' || claim === 'nbf' || claim === 'iat';
  const clock = isTime
    ? `, at ${currentDate?.toISOString()}: do the clocks of the provider and of this server differ?`
    : '';
  return checkFailed(`${describeMismatch(`claim ${claim}`, error.message, payload[claim])}${clock}`);
}

function checkFailed(what: string): OAuthError {
  return new OAuthError('invalid_response', `the ID token failed a check: ${what}`);
}

/** `at_hash` (OIDC Core 3.1.3.6): the left half of the hash that belongs to the signature algorithm. */
function hashAccessToken(accessToken: string, algorithm: string): string {
  const bits = /\d{3}$/.exec(algorithm)?.[0] ?? '512'; // EdDSA
  const hash = createHash(`sha${algorithm === 'Ed25519' ? '512' : bits}`)
    .update(accessToken)
    .digest();
  return hash.subarray(0, hash.length / 2).toString('base64url');
}

function readIdentity(claims: JWTPayload): Identity {
  const text = (value: unknown) =>
    typeof value === 'string' && value !== '' && value.length <= maxClaimLength ? value : undefined;
  const { sid, acr, nonce, auth_time: authTime, login_hint: loginHint } = claims;
  const optional = { nonce: text(nonce), sid: text(sid), acr: text(acr), loginHint: text(loginHint) };
  return {
    issuer: String(claims.iss),
    subject: String(claims.sub),
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
    ...(typeof authTime === 'number' && { authTime }),
  };
}
