/** What a provider says about a user: the claims of an ID token, the response of the userinfo endpoint, or both. */
export type Claims = Readonly<Record<string, unknown>>;

/** A claim about which nothing is known is `undefined`, and so is one that is `null`. */
export function hasValue(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/**
 * The claim `name`. Dots lead into nested claims (`realm_access.roles`), but a claim whose own name has dots
 * (`https://example.com/roles`) comes first. Only own members of objects count: no prototype, and no item of an array.
 */
export function readClaim(claims: Claims, name: string): unknown {
  const path = findClaim(claims, name);
  return path?.reduce((value: unknown, member) => Reflect.get(Object(value), member), claims);
}

/** The members that lead to the claim `name`; `undefined` if there is none. */
export function findClaim(value: unknown, name: string): readonly string[] | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  if (Object.hasOwn(value, name)) return [name];
  for (let end = name.lastIndexOf('.'); end > 0; end = name.lastIndexOf('.', end - 1)) {
    const member = name.slice(0, end);
    if (!Object.hasOwn(value, member)) continue;
    const rest = findClaim(Reflect.get(value, member), name.slice(end + 1));
    if (rest) return [member, ...rest];
  }
  return undefined;
}

/** The claims of these names, nested as they were; one that has no value is left out. */
export function selectClaims(claims: Claims, names: readonly string[]): Claims {
  const selected: Record<string, unknown> = {};
  for (const name of names) {
    const path = findClaim(claims, name);
    const value = readClaim(claims, name);
    if (!path || !hasValue(value)) continue;
    let target = selected;
    for (const member of path.slice(0, -1)) {
      const known = target[member];
      const nested = typeof known === 'object' && known !== null && !Array.isArray(known) ? { ...known } : {};
      target[member] = nested;
      target = nested as Record<string, unknown>;
    }
    target[path.at(-1)!] = value;
  }
  return selected;
}
