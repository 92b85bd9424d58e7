import { AppError } from '../errors.ts';

/** What the router found for the parameters of a pattern; a wildcard is a list of segments. */
type Parameters = Readonly<Record<string, string | readonly string[] | undefined>>;

/** What would be another segment, or another path, to a server that decodes (once more) than it should. */
const unsafe = /[/\\\p{Cc}]|%(?:2e|2f|5c|25|0\d|1[\da-f]|7f)|^\.{1,2}(?:;|$)/iu;
/** Characters a segment may hold as they are (RFC 3986 3.3). */
const unescapedInSegment = /%(?:3A|40|24|26|2B|2C|3D)/g;

/**
 * `targetPath(parameters)`: the path of `pattern` (`/v1/things/:id/*rest`) with its parameters filled in. Each is one
 * segment, or with `*` several, and stays so whatever it holds.
 * @throws AppError `not_found`: a parameter that could mean another path
 */
export function createTargetPath(pattern: string): (parameters: Parameters) => string {
  const pieces = pattern.split('/');
  if (!pieces.some((each) => /^[:*]/.test(each))) return () => pattern;
  return function targetPath(parameters) {
    return pieces
      .map((piece) => {
        const value = /^[:*]/.test(piece) ? parameters[piece.slice(1)] : undefined;
        if (value === undefined) return piece;
        return typeof value === 'string' ? encodeSegment(value) : encodeSegments(value);
      })
      .join('/');
  };
}

/** The last of several may be empty: a slash at the end means something to some servers. */
function encodeSegments(values: readonly string[]): string {
  return values
    .map((value, index) =>
      value === '' && index > 0 && index === values.length - 1 ? '' : encodeSegment(value),
    )
    .join('/');
}

function encodeSegment(value: string): string {
  if (value === '' || unsafe.test(value)) throw new AppError('not_found');
  return encodeURIComponent(value).replace(unescapedInSegment, decodeURIComponent);
}

/**
 * `targetQuery(url)`: the query of a request as it came, with its `?`; of `names`, when given, and nothing else. A
 * fragment has no business in a request.
 */
export function createTargetQuery(names: readonly string[] | undefined): (url: string) => string {
  const passed = names && new Set(names);
  return function targetQuery(url) {
    const start = url.indexOf('?');
    if (start < 0) return '';
    const end = url.indexOf('#', start);
    const query = end < 0 ? url.slice(start) : url.slice(start, end);
    if (!passed) return query;
    const remaining = query
      .slice(1)
      .split('&')
      .filter((each) => passed.has(parameterName(each)))
      .map((each) => each.replaceAll(';', '%3B')); // some servers begin a new parameter there
    return remaining.length === 0 ? '' : `?${remaining.join('&')}`;
  };
}

function parameterName(pair: string): string {
  const name = pair.split('=', 1)[0] ?? '';
  try {
    return decodeURIComponent(name.replaceAll('+', ' '));
  } catch {
    return ''; // no name at all
  }
}
