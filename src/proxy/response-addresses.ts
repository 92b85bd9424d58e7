import type { IncomingHttpHeaders } from 'node:http';
import type { ResourceServer } from '../config/route-table.ts';
import { paths } from '../paths.ts';
import { parameterSegment } from './target-path.ts';

type Row = Pick<ResourceServer, 'path' | 'origin' | 'targetPath'> & {
  /** What precedes the path; by default the base path and /api. */
  readonly prefix?: string;
};

/** The request to which an API responded. */
interface SentRequest {
  readonly origin: string;
  /** Path and query. */
  readonly path: string;
  /** The pattern of the route, whose addresses are preferred if several routes lead to one target. */
  readonly routePath?: string | undefined;
  /** Further routes, of an app around Latchkey, that lead to this request. */
  readonly hostRoutes?: (() => readonly Row[]) | undefined;
}

interface ReverseRoute extends Row {
  /** Matches the target, with a group for each parameter, and everything below it as `$below`. */
  readonly expression: RegExp;
}

const addressHeader = /^((content|operation)-)?location$/;
/** Longer addresses are not mapped: a hostile API could make the match slow. */
const maxAddressLength = 4_096;
/** Further paging links are removed, because each is compared with the targets of all routes. */
const maxLinks = 32;
const pagingRelations: ReadonlySet<string> = new Set(['first', 'last', 'next', 'prev', 'previous']);
const linkValue = /<([^<>\s]*)>((?:\s*;\s*[\w*-]+(?:=(?:"(?:[^"\\]|\\.)*"|[^\s;,"\\]*))?)*)/g;
const linkParameter = /;\s*([\w*-]+)(?:=("(?:[^"\\]|\\.)*"|[^\s;,"\\]*))?/g;

/**
 * `mapAddresses(headers, sentRequest)` changes the addresses in an API's response: what is at or below the target of a
 * route becomes the address under /api, below the base path. Others stay as they are. Of `Link`, only paging relations remain, because
 * browsers load what others name (RFC 8288). `addRoute` adds a route of an app around Latchkey.
 */
export function createAddressMapper(rows: readonly Row[], basePath = '') {
  /** By origin and literal beginning of the target, so that an address is compared with few of them. */
  const routes = new Map<string, ReverseRoute[]>();
  let maxSegments = 0;

  function addRoute(row: Row): void {
    const beginning = literalBeginning(row.targetPath);
    maxSegments = Math.max(maxSegments, beginning.length);
    const key = row.origin + beginning.join('/');
    routes.set(key, [...(routes.get(key) ?? []), compileRow(row)]);
  }
  rows.forEach(addRoute);

  function findRoutes(origin: string, pathname: string): readonly ReverseRoute[] {
    const segments = pathname.split('/', maxSegments);
    return segments.flatMap((_, index) => routes.get(origin + segments.slice(0, index + 1).join('/')) ?? []);
  }

  function mapAddress(address: string, { origin, path, routePath, hostRoutes }: SentRequest): string {
    const base = origin + path;
    const ascii = address.replace(
      /[\x80-\xff]/g,
      (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase()}`,
    );
    if (address === '' || address.length > maxAddressLength || !URL.canParse(ascii, base)) return address;
    const { origin: targetOrigin, pathname, search, hash } = new URL(ascii, base);
    const own = (hostRoutes?.() ?? []).filter((route) => route.origin === targetOrigin).map(compileRow);
    const candidates = [...own, ...findRoutes(targetOrigin, pathname)]
      .map((route) => ({
        isCurrent: own.includes(route) || route.path === routePath,
        prefix: route.prefix ?? basePath + paths.api,
        ...reverse(route, pathname),
      }))
      .filter(({ mapped }) => mapped !== undefined)
      .sort((a, b) => a.below.length - b.below.length || Number(b.isCurrent) - Number(a.isCurrent));
    const [best] = candidates;
    return best?.mapped === undefined ? address : best.prefix + best.mapped + search + hash;
  }

  function mapAddresses(headers: IncomingHttpHeaders, request: SentRequest): void {
    for (const name of Object.keys(headers)) {
      const value = headers[name];
      if (value === undefined) continue;
      if (addressHeader.test(name)) headers[name] = mapAddress(String([value].flat()[0]), request);
    }
    if (headers.link === undefined) return;
    const links = filterLinks(String(headers.link), (address) => mapAddress(address, request));
    if (links === '') delete headers.link;
    else headers.link = links;
  }

  return Object.assign(mapAddresses, { addRoute });
}

/** The segments before the first parameter. */
function literalBeginning(targetPath: string): string[] {
  const segments = targetPath.replace(/\/?(\?.*)?$/, '').split('/');
  const end = segments.findIndex((segment) => parameterSegment.test(segment));
  return end < 0 ? segments : segments.slice(0, end);
}

function compileRow(row: Row): ReverseRoute {
  return { ...row, expression: compileTarget(row.targetPath) };
}

function compileTarget(targetPath: string): RegExp {
  const pattern = targetPath.replace(/\?.*$/, '');
  const named = new Set<string>();
  const segments = pattern.split('/').map((segment) => {
    const [, name, suffix = ''] = parameterSegment.exec(segment) ?? [];
    if (name === undefined) return escapeForRegExp(segment);
    const isRepeated = named.has(name);
    named.add(name);
    const value = isRepeated ? `\\k<${name}>` : `(?<${name}>${segment.startsWith('*') ? '.+' : '[^/]+?'})`;
    return value + escapeForRegExp(suffix);
  });
  return new RegExp(`^${segments.join('/')}(?<$below>${pattern.endsWith('/') ? '.*' : '(/.*)?'})$`);
}

/** The path that leads to `pathname`, and which part of it is below the target; no path if there is none. */
function reverse({ expression, path, targetPath }: ReverseRoute, pathname: string) {
  const groups = expression.exec(pathname)?.groups;
  if (!groups) return { mapped: undefined, below: '' };
  const { $below: below = '' } = groups;
  const filled = path.split('/').map((segment) => {
    const [, name] = parameterSegment.exec(segment) ?? [];
    return name === undefined ? segment : groups[name];
  });
  const isComplete = filled.every((each) => each !== undefined); // a target need not use every parameter
  const separator = targetPath.endsWith('/') && below !== '' ? '/' : '';
  return { mapped: isComplete ? filled.join('/') + separator + below : undefined, below };
}

/** The first paging links of a `Link` header, written anew. */
function filterLinks(header: string, mapAddress: (address: string) => string): string {
  const links: string[] = [];
  for (const [, address = '', text = ''] of header.matchAll(linkValue)) {
    const parameters = [...text.matchAll(linkParameter)].map(
      ([, name = '', value = '']) => [name.toLowerCase(), value.replace(/^"|"$/g, '')] as const,
    );
    const relations =
      parameters
        .find(([name]) => name === 'rel')?.[1]
        .toLowerCase()
        .split(/\s+/) ?? [];
    if (relations.length === 0 || !relations.every((each) => pagingRelations.has(each))) continue;
    const others = parameters.filter(([name]) => !/^(rel|rev|anchor|as)$/.test(name));
    const written = others.map(([name, value]) => `; ${name}="${value}"`).join('');
    links.push(`<${mapAddress(address)}>; rel="${relations.join(' ')}"${written}`);
    if (links.length === maxLinks) break;
  }
  return links.join(', ');
}

function escapeForRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}
