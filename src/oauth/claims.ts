import type { ClaimMap } from '../config/field-types.ts';

/**
 * The claims that `map` finds in a response, under their OpenID Connect names (Core 5.1). Numbers are converted to
 * strings, because an `id` often is one; all other values except non-empty strings are left out.
 */
export function mapClaims(response: unknown, map: ClaimMap): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(map).flatMap(([claim, paths]) => {
      const found = paths.map((path) => stringAtPath(response, path)).find((text) => text !== undefined);
      return found === undefined ? [] : [[claim, found]];
    }),
  );
}

/** @param path members and array indices, such as `images.0.url` */
function stringAtPath(response: unknown, path: string): string | undefined {
  let value = response;
  for (const member of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, member)) return undefined;
    value = Reflect.get(value, member);
  }
  if (typeof value === 'number') return String(value);
  return typeof value === 'string' && value !== '' ? value : undefined;
}
