import { type Claims, readClaim } from './read-claim.ts';

/** Claims about the token, not the user. The sources of distributed claims can contain access tokens (OIDC Core 5.6.2). */
const protocolClaims = new Set([
  ...['iss', 'aud', 'exp', 'iat', 'nbf', 'jti', 'nonce', 'azp', 'sid', 'auth_time', 'events'],
  ...['at_hash', 'c_hash', 's_hash', '_claim_names', '_claim_sources'],
]);
/** Of one user, as JSON; the claims that settings and rules name come first. */
const maxStoredCharacters = 16_384;

/** Only what says something about the user, and not more than is stored. Names of claims that were too long are reported. */
export function limitClaims(
  claims: Claims,
  needed: ReadonlySet<string>,
  onTooLong: (names: readonly string[]) => void = () => {},
): Claims {
  const first = new Set([...needed].flatMap((name) => [name, name.split('.')[0] ?? name]));
  const entries = Object.entries(claims).filter(
    ([name, value]) =>
      !protocolClaims.has(name) && name !== '__proto__' && value !== null && value !== undefined,
  );
  const ordered = [
    ...entries.filter(([name]) => first.has(name)),
    ...entries.filter(([name]) => !first.has(name)),
  ];
  const tooLong: string[] = [];
  let characters = 0;
  const stored = ordered.filter(([name, value]) => {
    const added = name.length + (JSON.stringify(value)?.length ?? 0) + 4;
    const fits = characters + added <= maxStoredCharacters;
    if (fits) characters += added;
    else tooLong.push(name);
    return fits;
  });
  if (tooLong.length > 0) onTooLong(tooLong);
  return Object.fromEntries(stored);
}

/** `newer` over `older`. What was said of an address holds for that address only. */
export function mergeClaims(older: Claims, newer: Claims): Claims {
  const isOtherAddress = Object.hasOwn(newer, 'email') && newer.email !== older.email;
  const { email_verified: _, ...rest } = older;
  return { ...(isOtherAddress ? rest : older), ...newer };
}

/** True if a claim that a setting or a rule names is not in `claims`. */
export function lacksNeeded(claims: Claims, needed: ReadonlySet<string>): boolean {
  return [...needed].some((name) => readClaim(claims, name) === undefined);
}
