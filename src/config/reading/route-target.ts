/** A parsed `target` of a route. */
interface RouteTarget {
  readonly origin: string;
  /** The path with its parameters (`:id`, `:id.json`, `*rest`). */
  readonly path: string;
  /** The query without `?`; empty when there is none. */
  readonly query: string;
}

export interface TargetOptions {
  /** The pattern whose parameters the target may use; unknown when it is not valid. */
  readonly path: string | undefined;
  /** The URL to which a path is appended. */
  readonly base: URL | undefined;
  readonly allowHttp: (target: URL) => boolean;
}

/** A parameter is the beginning of a segment: `:id`, `:id.json`, `:id:cancel`. A wildcard is a whole segment. */
const parameter = /^(:[A-Za-z_]\w*|\*.*)/;

/** The target, and everything that is wrong with it; each problem completes a sentence. */
export function parseTarget(
  target: string,
  { path, base, allowHttp }: TargetOptions,
): { readonly target: RouteTarget; readonly problems: readonly string[] } {
  const url = parseUrl(target, base);
  if (typeof url === 'string') return { target: { origin: '', path: '', query: '' }, problems: [url] };
  const problems: string[] = [];
  const isAbsolute = !target.startsWith('/'); // the base URL has its own check
  if (isAbsolute && url.protocol === 'http:' && !allowHttp(url))
    problems.push('must be https, unless its host is this machine or OAUTH2_ALLOW_HTTP is true');
  const available = path === undefined ? undefined : listParameters(path);
  for (const name of listParameters(url.pathname))
    if (available && !available.includes(name)) problems.push(`uses ${name}, which is not in path`);
  for (const name of available ?? [])
    if (new RegExp(`[=&]${name.replace('*', '\\*')}\\b`).test(`&${url.search.slice(1)}`))
      problems.push(`uses ${name} in its query, where parameters are not replaced`);
  return { target: { origin: url.origin, path: url.pathname, query: url.search.slice(1) }, problems };
}

/** The parameters of a pattern, with their prefix: `:id`, `*rest`. */
function listParameters(pattern: string): readonly string[] {
  return pattern.split('/').flatMap((segment) => parameter.exec(segment)?.[0] ?? []);
}

/** The URL, or the problem with it. */
function parseUrl(target: string, base: URL | undefined): URL | string {
  if (target.includes('#')) return 'must not contain a fragment';
  if (target.startsWith('/')) {
    if (!base) return 'is a path, but OAUTH2_API_BASE_URL is not set';
    return new URL(base.origin + base.pathname.replace(/\/$/, '') + target);
  }
  if (!/^https?:\/\//.test(target) || !URL.canParse(target))
    return 'must be a path, or a URL beginning with https:// or http://';
  const url = new URL(target);
  if (url.username || url.password) return 'must not contain credentials';
  return /[:*]/.test(url.hostname.replace(/^\[.*\]$/, '')) ? 'must not contain a parameter in the host' : url;
}
