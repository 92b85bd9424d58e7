import type { RouteProblem } from './route-problems.ts';
import { parseTarget, type TargetOptions } from './route-target.ts';

/** The members of a row that are checked together; one that is not valid on its own is absent. */
interface RouteRow {
  readonly path?: string | undefined;
  readonly target?: string | undefined;
  readonly methods?: Readonly<Record<string, { readonly anyOf: readonly string[] }>> | undefined;
  readonly token?: string | undefined;
  readonly webSocket?: boolean | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

const headerName = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
const forbiddenHeaderNames =
  /^(host|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|content-length|expect|cookie|sec-websocket-.*)$/i;

/** Rows with the same path and method: only the first would be used. */
export function findDuplicates(rows: readonly RouteRow[]): readonly RouteProblem[] {
  const problems: RouteProblem[] = [];
  const indexByRoute = new Map<string, number>();
  for (const [index, { path, methods }] of rows.entries())
    for (const method of path === undefined ? [] : Object.keys(methods ?? {})) {
      const key = `${method} ${path?.replace(/:\w+/g, ':').replace(/\*\w+/, '*')}`;
      const other = indexByRoute.get(key);
      if (other !== undefined)
        problems.push({
          path: ['routes', index, 'path'],
          message: `duplicates ${method} of routes[${other}]`,
        });
      indexByRoute.set(key, index);
    }
  return problems;
}

/** What is wrong with a row although each of its members is valid on its own. */
export function findRowProblems(
  each: RouteRow,
  index: number,
  options: Omit<TargetOptions, 'path'>,
): readonly RouteProblem[] {
  const problems: RouteProblem[] = [];
  const report = (member: string, message: string) =>
    problems.push({ path: ['routes', index, member], message });
  const { methods } = each;
  if (each.token === 'app' && Object.values(methods ?? {}).some(({ anyOf }) => anyOf.length > 0))
    report('methods', 'cannot use anyOf with "token": "app"; list the scopes to request in allOf');
  if (each.webSocket && methods && !methods.GET) report('webSocket', 'requires GET in methods');
  for (const name of Object.keys(each.headers ?? {})) {
    if (!headerName.test(name) || forbiddenHeaderNames.test(name))
      report('headers', `cannot set ${JSON.stringify(name)}`);
    if (/^authorization$/i.test(name) && each.token !== undefined && each.token !== 'none')
      report(
        'headers',
        'cannot set Authorization unless "token" is "none": that header carries the access token',
      );
  }
  if (each.target !== undefined)
    for (const message of parseTarget(each.target, { ...options, path: each.path }).problems)
      report('target', message);
  return problems;
}
