import { errors, type JWTVerifyOptions, jwtVerify } from 'jose';
import { describeMismatch, OAuthError } from '../oauth-error.ts';
import type { ProviderKeys } from '../provider-keys.ts';

/** What a token that the provider has signed is checked against. */
export interface TokenVerifier {
  readonly clientId: string;
  /** The accepted issuers; `{tenantid}` stands for the token's `tid` (Microsoft Entra ID). */
  readonly issuers: readonly string[];
  readonly keys: Pick<ProviderKeys, 'getKey' | 'refetch'>;
  readonly clockToleranceSeconds: number;
}

/** Algorithms with a public key. Those with a shared key (`HS256`) and `none` are never accepted. */
export const asymmetricAlgorithms = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
];
/** OIDC Core 2 limits `sub` to 255 characters; the other claims have the same limit here. */
export const maxClaimLength = 255;

const failures = {
  id_token: 'the ID token failed a check',
  logout_token: 'the logout token failed a check',
} as const;

export type SignedTokenKind = keyof typeof failures;

export function checkFailed(kind: SignedTokenKind, what: string): OAuthError {
  return new OAuthError('invalid_response', `${failures[kind]}: ${what}`);
}

/** Checks a token's `iss`; the metadata of Microsoft Entra ID names an issuer that depends on the token's tenant. */
export function requireIssuer(
  kind: SignedTokenKind,
  issuers: readonly string[],
  { iss, tid }: Readonly<Record<string, unknown>>,
): void {
  // A function, because the characters `$&` in a string would have a meaning.
  const expected = issuers.map((each) =>
    typeof tid === 'string' ? each.replace('{tenantid}', () => tid) : each,
  );
  if (!expected.includes(String(iss)))
    throw checkFailed(kind, describeMismatch('claim iss', expected[0], iss));
}

/**
 * The payload of a token whose signature and registered claims are right (RFC 7519 7.2).
 * @throws OAuthError `invalid_response`, or `unavailable`: the keys cannot be fetched
 */
export async function verifySignature(
  kind: SignedTokenKind,
  token: string,
  keys: TokenVerifier['keys'],
  options: JWTVerifyOptions,
) {
  try {
    return await verifyWithKeys(token, keys, options).catch(async (error: unknown) => {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
      await keys.refetch();
      return verifyWithKeys(token, keys, options);
    });
  } catch (error) {
    throw toCheckError(kind, error, options);
  }
}

async function verifyWithKeys(
  token: string,
  { getKey }: Pick<TokenVerifier['keys'], 'getKey'>,
  options: JWTVerifyOptions,
) {
  try {
    return await jwtVerify(token, getKey, options);
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    // The token does not say with which of several keys it was signed (RFC 7515 4.1.4).
    for await (const key of error) {
      const result = await jwtVerify(token, key, options).catch((failure: unknown) => {
        if (!(failure instanceof errors.JWSSignatureVerificationFailed)) throw failure;
      });
      if (result) return result;
    }
    throw new errors.JWSSignatureVerificationFailed();
  }
}

/** The error of the JOSE library with the claim's value, which is not in its message. */
export function toCheckError(
  kind: SignedTokenKind,
  error: unknown,
  { currentDate, audience }: JWTVerifyOptions = {},
): unknown {
  if (!(error instanceof errors.JOSEError)) return error; // the keys cannot be fetched
  if (!(error instanceof errors.JWTClaimValidationFailed || error instanceof errors.JWTExpired))
    return checkFailed(kind, `${error.code}: ${error.message}`);
  const { claim, payload } = error;
  if (claim === 'aud') return checkFailed(kind, describeMismatch('claim aud', audience, payload.aud));
  const isTime = claim === 'exp' || claim === 'nbf' || claim === 'iat';
  const clock = isTime
    ? `, at ${currentDate?.toISOString()}: do the clocks of the provider and of this server differ?`
    : '';
  return checkFailed(kind, `${describeMismatch(`claim ${claim}`, error.message, payload[claim])}${clock}`);
}
