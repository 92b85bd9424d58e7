import type { ClaimMap } from '../config/field-types.ts';

/**
 * The claims that `map` finds in an answer, in the words of OpenID Connect (Core 5.1). Numbers count as their digits,
 * as an `id` often is one; anything else that is not text with something in it is not there.
 */
export function mapClaims(answer: unknown, map: ClaimMap): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(map).flatMap(([claim, paths]) => {
      const found = paths.map((path) => stringAtPath(answer, path)).find((text) => text !== undefined);
      return found === undefined ? [] : [[claim, found]];
    }),
  );
}

/** `images.0.url`: members and, in an array, indices. */
function stringAtPath(answer: unknown, path: string): string | undefined {
  let value = answer;
  for (const member of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, member)) return undefined;
    value = Reflect.get(value, member);
  }
  if (typeof value === 'number') return String(value);
  return typeof value === 'string' && value !== '' ? value : undefined;
}
