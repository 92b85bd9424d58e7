import { findClaimProblems } from './claim-checks.ts';
import { findExampleProblems, type RequestExample } from './request-example.ts';
import type { RouteProblem } from './route-problems.ts';
import { parseTarget, type TargetOptions } from './route-target.ts';

/** The members of a row that are checked together; one that is not valid on its own is absent. */
interface RouteRow {
  readonly path?: string | undefined;
  readonly target?: string | undefined;
  readonly methods?:
    | Readonly<
        Record<
          string,
          {
            readonly anyOf: readonly string[];
            readonly claims?: object | undefined;
            readonly example?: RequestExample | undefined;
          }
        >
      >
    | undefined;
  readonly token?: string | undefined;
  readonly webSocket?: boolean | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly identityHeaders?: Readonly<Record<string, string>> | undefined;
  readonly requestHeaders?: readonly string[] | undefined;
  readonly forwardedFor?: boolean | undefined;
}

const headerName = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
/** Headers of the connection, and those that Latchkey sets. */
const reservedHeaderNames =
  /^(host|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|content-length|expect|cookie|sec-websocket-.*)$/;
/** Headers of a caller that would be credentials, or would make the request another one. */
const refusedCallerHeaderNames =
  /^(authorization|cookie2|latchkey-.*|x-request-id|x-http-method|x-(http-)?method-override|x-original-(url|method|uri)|x-rewrite-url)$/;
const addressHeaderNames =
  /^(forwarded|x-forwarded-.*|x-real-ip|x-client-ip|true-client-ip|.*-connecting-ip)$/;

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
  for (const [member, message] of [...findHeaderProblems(each), ...findClaimProblems(each)])
    report(member, message);
  for (const [at, message] of findExampleProblems(each))
    problems.push({ path: ['routes', index, ...at], message });
  if (each.target !== undefined)
    for (const message of parseTarget(each.target, { ...options, path: each.path }).problems)
      report('target', message);
  return problems;
}

/** The problems of the headers in a row of the route table: the member, and the message. */
function findHeaderProblems(row: RouteRow): [member: string, message: string][] {
  const problems: [string, string][] = [];
  const fixed = new Set<string>();
  for (const name of Object.keys(row.headers ?? {})) {
    const normalized = name.toLowerCase();
    fixed.add(normalized);
    if (!headerName.test(name) || reservedHeaderNames.test(normalized))
      problems.push(['headers', `cannot set ${JSON.stringify(name)}`]);
    if (normalized === 'authorization' && row.token !== undefined && row.token !== 'none')
      problems.push([
        'headers',
        'cannot set Authorization unless "token" is "none": that header carries the access token',
      ]);
  }
  if (row.forwardedFor && fixed.has('x-forwarded-for'))
    problems.push(['forwardedFor', 'cannot be true while headers sets X-Forwarded-For']);
  for (const name of row.requestHeaders ?? []) {
    const normalized = name.toLowerCase().replaceAll('_', '-'); // some servers treat _ as -
    const isRefused = reservedHeaderNames.test(normalized) || refusedCallerHeaderNames.test(normalized);
    if (!headerName.test(name) || isRefused)
      problems.push(['requestHeaders', `cannot name ${JSON.stringify(name)}`]);
    else if (addressHeaderNames.test(normalized))
      problems.push([
        'requestHeaders',
        `cannot name ${JSON.stringify(name)}, which any caller could set; "forwardedFor": true sends the real address`,
      ]);
    else if (fixed.has(name.toLowerCase()))
      problems.push(['requestHeaders', `names ${JSON.stringify(name)}, which headers sets`]);
  }
  return problems;
}
