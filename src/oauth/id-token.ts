import { createHash } from 'node:crypto';
import type { JWTPayload } from 'jose';
import {
  asymmetricAlgorithms,
  checkFailed as checkFailedFor,
  maxClaimLength,
  requireIssuer,
  type TokenVerifier,
  verifySignature,
} from './jwt/signed-token.ts';
import { describeMismatch } from './oauth-error.ts';

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

/** How long before its request an ID token may have been issued: some providers repeat one for some minutes. */
const maxIssuedBeforeSeconds = 600;

const checkFailed = (what: string) => checkFailedFor('id_token', what);

/**
 * The verified claims of a login's ID token (OIDC Core 3.1.3.7).
 * @throws OAuthError `invalid_response`: the message names the claim, what was expected and what was received
 */
export async function verifyLogin(
  verifier: TokenVerifier,
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
  verifier: TokenVerifier,
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
  { clientId, issuers, keys, clockToleranceSeconds }: TokenVerifier,
  received: ReceivedIdToken,
): Promise<JWTPayload> {
  const { idToken, accessToken } = received;
  const now = serverTimeOf(received);
  const { payload, protectedHeader } = await verifySignature('id_token', idToken, keys, {
    algorithms: asymmetricAlgorithms,
    audience: clientId,
    requiredClaims: ['iss', 'sub', 'aud', 'exp', 'iat'],
    clockTolerance: clockToleranceSeconds,
    currentDate: new Date(now),
  });
  const { sub, aud, iat } = payload;
  const [azp, atHash] = [payload.azp ?? undefined, payload.at_hash ?? undefined]; // some servers send null
  requireIssuer('id_token', issuers, payload);
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
