import { AppError } from '../errors.ts';

/** Route parameters as Express parses them; a wildcard is a list of segments. */
type PathParameters = Readonly<Record<string, string | readonly string[] | undefined>>;

/** Matches a segment that a server which decodes it too often could read as several segments or as another path. */
const unsafeSegment = /[/\\\p{Cc}]|%(?:2e|2f|5c|25|0\d|1[\da-f]|7f)|^\.{1,2}(?:;|$)/iu;
/** The escapes of characters that a segment may contain unescaped (RFC 3986 3.3). */
const unnecessaryEscapes = /%(?:3A|40|24|26|2B|2C|3D)/g;

/**
 * `buildTargetPath(parameters)`: `pattern` (`/v1/things/:id/*rest`) with its parameters filled in. A `:name` remains
 * one segment whatever its value, and so does each segment of a `*name`.
 * @throws AppError `not_found`: a parameter could be read as another path
 */
export function createTargetPathBuilder(pattern: string): (parameters: PathParameters) => string {
  const segments = pattern.split('/');
  if (!segments.some((each) => /^[:*]/.test(each))) return () => pattern;
  return function buildTargetPath(parameters) {
    return segments
      .map((segment) => {
        const value = /^[:*]/.test(segment) ? parameters[segment.slice(1)] : undefined;
        if (value === undefined) return segment;
        return typeof value === 'string' ? encodeSegment(value) : encodeSegments(value);
      })
      .join('/');
  };
}

/** The last of several may be empty, as a trailing slash makes a difference to some servers. */
function encodeSegments(values: readonly string[]): string {
  return values
    .map((value, index) =>
      value === '' && index > 0 && index === values.length - 1 ? '' : encodeSegment(value),
    )
    .join('/');
}

function encodeSegment(value: string): string {
  if (value === '' || unsafeSegment.test(value)) throw new AppError('not_found');
  return encodeURIComponent(value).replace(unnecessaryEscapes, decodeURIComponent);
}

/**
 * `buildTargetQuery(url)`: the query of `url` with its `?`, unchanged or, when `names` is given, reduced to these
 * parameters. A fragment does not belong in a request and is removed.
 */
export function createTargetQueryBuilder(names: readonly string[] | undefined): (url: string) => string {
  const allowed = names && new Set(names);
  return function buildTargetQuery(url) {
    const start = url.indexOf('?');
    if (start < 0) return '';
    const end = url.indexOf('#', start);
    const query = end < 0 ? url.slice(start) : url.slice(start, end);
    if (!allowed) return query;
    const remaining = query
      .slice(1)
      .split('&')
      .filter((each) => allowed.has(decodeName(each)))
      .map((each) => each.replaceAll(';', '%3B')); // some servers treat ; as a separator of parameters
    return remaining.length === 0 ? '' : `?${remaining.join('&')}`;
  };
}

/** The name of a `name=value` pair; empty when it cannot be decoded. */
function decodeName(pair: string): string {
  const name = pair.split('=', 1)[0] ?? '';
  try {
    return decodeURIComponent(name.replaceAll('+', ' '));
  } catch {
    return '';
  }
}
