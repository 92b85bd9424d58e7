import { decodeJwt, decodeProtectedHeader, type JWTPayload } from 'jose';
import { describeMismatch } from '../oauth-error.ts';
import {
  asymmetricAlgorithms,
  checkFailed as checkFailedFor,
  maxClaimLength,
  requireIssuer,
  type TokenVerifier,
  toCheckError,
  verifySignature,
} from './signed-token.ts';

/** What a valid logout token says (OpenID Connect Back-Channel Logout 1.0, 2.4). */
export interface LogoutToken {
  /** The `jti`: the same whenever this token is sent. */
  readonly id: string;
  /** The provider's session that has ended; without one, all sessions of `sub` have. */
  readonly sid?: string;
  readonly sub?: string;
  /** Until when the token is accepted, epoch milliseconds. */
  readonly validUntil: number;
}

export interface LogoutTokenRules {
  /** True for providers that do not send `exp`. */
  readonly isExpOptional: boolean;
  /** `backchannel_logout_session_required` of the registration. */
  readonly isSidRequired: boolean;
}

/** How old a logout token may be, whatever its `exp` says: its `jti` is remembered for this long. */
const maxAgeSeconds = 600;
const eventName = 'http://schemas.openid.net/event/backchannel-logout';
/** Without a type of its own (`JWT`), a token is told from others by `events` and the absence of `nonce`. */
const acceptedTypes = /^(application\/)?(logout\+)?jwt$/i;

const checkFailed = (what: string) => checkFailedFor('logout_token', what);

/**
 * Checks a logout token (2.6). What it says is checked before its signature, so that a token that nobody could have meant
 * for this client costs neither cryptography nor a request for keys.
 * @throws OAuthError `invalid_response`, or `unavailable`: the keys cannot be fetched
 */
export async function verifyLogoutToken(
  { clientId, issuers, keys, clockToleranceSeconds: tolerance }: TokenVerifier,
  token: string,
  now: number,
  rules: LogoutTokenRules,
): Promise<LogoutToken> {
  const claims = decode(token);
  requireIssuer('logout_token', issuers, claims);
  const { aud } = claims;
  if (!(Array.isArray(aud) ? aud : [aud]).includes(clientId))
    throw checkFailed(describeMismatch('claim aud', clientId, aud));
  const validUntil = checkTimes(claims, now, tolerance, rules.isExpOptional);
  requireLogoutEvent(claims);
  const { nonce } = claims;
  if (nonce !== undefined) throw checkFailed('it has a nonce, as an ID token does');
  const id = readText(claims, 'jti');
  const [sid, sub] = [readText(claims, 'sid'), readText(claims, 'sub')];
  if (id === undefined) throw checkFailed('claim jti is missing');
  if (sid === undefined && (rules.isSidRequired || sub === undefined))
    throw checkFailed(rules.isSidRequired ? 'claim sid is missing' : 'it has neither sid nor sub');
  await verifySignature('logout_token', token, keys, {
    algorithms: asymmetricAlgorithms,
    audience: clientId,
    clockTolerance: tolerance,
    currentDate: new Date(now),
  });
  return { id, validUntil, ...(sid !== undefined && { sid }), ...(sub !== undefined && { sub }) };
}

/** The claims, of which nobody knows yet who wrote them. */
function decode(token: string): JWTPayload {
  try {
    const { alg, typ } = decodeProtectedHeader(token);
    if (alg === undefined || !asymmetricAlgorithms.includes(alg))
      throw checkFailed(describeMismatch('header alg', 'an algorithm with a public key', alg));
    if (typ !== undefined && !acceptedTypes.test(String(typ)))
      throw checkFailed(describeMismatch('header typ', 'logout+jwt', typ));
    return decodeJwt(token);
  } catch (error) {
    // Besides its own errors, the library throws a TypeError for a header that it cannot read.
    if (error instanceof TypeError) throw checkFailed('it is not a JWT');
    throw toCheckError('logout_token', error);
  }
}

/** @returns until when the token is accepted, epoch milliseconds */
function checkTimes(
  { iat, exp }: JWTPayload,
  now: number,
  tolerance: number,
  isExpOptional: boolean,
): number {
  const seconds = now / 1000;
  const clock = `at ${new Date(now).toISOString()}: do the clocks of the provider and of this server differ?`;
  if (typeof iat !== 'number') throw checkFailed(describeMismatch('claim iat', 'a number', iat));
  const mayOmitExp = isExpOptional && (exp ?? undefined) === undefined;
  if (!mayOmitExp && typeof exp !== 'number')
    throw checkFailed(
      `${describeMismatch('claim exp', 'a number', exp)}; the deviation logout-exp-missing allows tokens without it`,
    );
  if (iat > seconds + tolerance)
    throw checkFailed(`${describeMismatch('claim iat', `${Math.floor(seconds)} or earlier`, iat)}, ${clock}`);
  const latest = iat + maxAgeSeconds;
  const validUntil = Math.min(typeof exp === 'number' ? exp : latest, latest) + tolerance;
  if (validUntil <= seconds) throw checkFailed(`it has expired: iat ${iat}, exp ${String(exp)}, ${clock}`);
  return validUntil * 1000;
}

function requireLogoutEvent({ events }: JWTPayload): void {
  const event = isObject(events) && Object.hasOwn(events, eventName) ? events[eventName] : undefined;
  if (!isObject(event)) throw checkFailed('claim events does not name the event of a logout');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @throws OAuthError the claim exists, and is not a text of usual length */
function readText(claims: JWTPayload, name: string): string | undefined {
  const value = claims[name] ?? undefined;
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || value === '' || value.length > maxClaimLength)
    throw checkFailed(describeMismatch(`claim ${name}`, `1 to ${maxClaimLength} characters`, value));
  return value;
}
