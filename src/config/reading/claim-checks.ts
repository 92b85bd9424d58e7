import { conditionNames } from '../../claims/conditions.ts';
import { normalizeHeaderName } from '../../claims/identity-headers.ts';
import type { JsonPath } from './json-text.ts';
import type { RouteProblem } from './route-problems.ts';

/** The members of a row that are about the user's claims; one that is not valid on its own is absent. */
interface ClaimRow {
  readonly methods?: Readonly<Record<string, { readonly claims?: object | undefined }>> | undefined;
  readonly token?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly requestHeaders?: readonly string[] | undefined;
  readonly identityHeaders?: Readonly<Record<string, string>> | undefined;
}

/** Headers of the connection and the content, and those with other meanings that Latchkey sets or forwards. */
const unusableNames =
  /^((accept|content|if|sec|latchkey|access|want|proxy)-.*|accept|host|connection|keep-alive|te|trailer|transfer-encoding|upgrade|expect|cookie2?|authorization|range|user-agent|cache-control|pragma|x-request-id|x-http-method.*|x-method-override|x-original-(url|method|uri)|x-rewrite-url|x-forwarded-(for|host|proto|port|prefix|server)|x-real-ip|forwarded|trace(parent|state))$/;

/** A name that the validation would ignore, and a rule with it: `__proto__` is a member of its own only in JSON. */
export function findPrototypeNames(json: unknown, path: JsonPath = []): readonly RouteProblem[] {
  if (typeof json !== 'object' || json === null) return [];
  return Object.keys(json).flatMap((name) => {
    const at = [...path, Array.isArray(json) ? Number(name) : name];
    if (name === '__proto__') return [{ path: at, message: 'is not allowed as a name' }];
    return findPrototypeNames(Reflect.get(json, name), at);
  });
}

/** Rows that would let callers set a header with which another row says who the user is: their API may be the same. */
export function findSpoofableIdentities(rows: readonly ClaimRow[]): readonly RouteProblem[] {
  const identities = new Set(
    rows.flatMap((each) => Object.keys(each.identityHeaders ?? {})).map(normalizeHeaderName),
  );
  return rows.flatMap(({ requestHeaders = [] }, index) =>
    requestHeaders
      .filter((name) => identities.has(normalizeHeaderName(name)))
      .map((name) => ({
        path: ['routes', index, 'requestHeaders'],
        message: `names ${JSON.stringify(name)}, with which identityHeaders says who the user is: any caller could set it`,
      })),
  );
}

/** The problems of a row that are about claims: the member, and the message. */
export function findClaimProblems(row: ClaimRow): readonly (readonly [member: string, message: string])[] {
  const problems: (readonly [string, string])[] = [];
  const hasClaims = Object.values(row.methods ?? {}).some(({ claims }) => claims);
  if (hasClaims && row.token === 'app')
    problems.push([
      'methods',
      'cannot have claims with "token": "app", for which nobody has to be signed in',
    ]);
  if (hasClaims && row.token === 'user-or-app')
    problems.push([
      'methods',
      'cannot have claims with "token": "user-or-app": a user without the claims could sign out to be let in',
    ]);
  const names = Object.keys(row.identityHeaders ?? {});
  if (names.length > 0 && row.token === 'app')
    problems.push([
      'identityHeaders',
      'cannot be used with "token": "app", for which nobody has to be signed in',
    ]);
  const taken = new Set(Object.keys(row.headers ?? {}).map(normalizeHeaderName));
  for (const name of names) {
    const normalized = normalizeHeaderName(name);
    if (taken.has(normalized))
      problems.push([
        'identityHeaders',
        `names ${JSON.stringify(name)}, which another member of the row sets`,
      ]);
    taken.add(normalized);
    if (!/^[A-Za-z][A-Za-z\d-]{0,63}$/.test(name))
      problems.push([
        'identityHeaders',
        `cannot set ${JSON.stringify(name)}: use letters, digits and -, up to 64`,
      ]);
    else if (unusableNames.test(normalized))
      problems.push(['identityHeaders', `cannot set ${JSON.stringify(name)}, which has another meaning`]);
  }
  if (names.length > 16) problems.push(['identityHeaders', 'must have at most 16 headers']);
  return problems;
}

/** The names that are known at a path within the claims of a method. */
export function namesOfClaimRule(path: JsonPath): readonly string[] {
  return path.length === 6 ? conditionNames : [];
}
