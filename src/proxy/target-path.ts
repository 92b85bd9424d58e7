import { AppError } from '../errors.ts';

/** Route parameters as Express parses them; a wildcard is a list of segments. */
type PathParameters = Readonly<Record<string, string | readonly string[] | undefined>>;

/** Matches a segment that a server which decodes it too often could read as several segments or as another path. */
const unsafeSegment = /[/\\\p{Cc}]|%(?:2e|2f|5c|25|0\d|1[\da-f]|7f)|^\.{1,2}(?:;|$)/iu;
/** A parameter of a pattern, and a suffix (`:id.json`). */
const parameterSegment = /^[:*]([A-Za-z_]\w*)(.*)$/;
/** The escapes of characters that a segment may contain unescaped (RFC 3986 3.3). */
const unnecessaryEscapes = /%(?:3A|40|24|26|2B|2C|3D)/g;

/**
 * `buildTargetPath(parameters)`: `pattern` (`/v1/things/:id/*rest`) with its parameters filled in. A `:name` remains
 * one segment whatever its value, and so does each segment of a `*name`.
 * @throws AppError `not_found`: a parameter could be read as another path
 */
export function createTargetPathBuilder(pattern: string): (parameters: PathParameters) => string {
  const segments = pattern.split('/').map((text) => {
    const [, name, suffix = ''] = parameterSegment.exec(text) ?? [];
    return { text, name, suffix };
  });
  if (!segments.some(({ name }) => name)) return () => pattern;
  return function buildTargetPath(parameters) {
    return segments
      .map(({ text, name, suffix }) => {
        const value = name === undefined ? undefined : parameters[name];
        if (value === undefined) return text;
        return (typeof value === 'string' ? encodeSegment(value) : encodeSegments(value)) + suffix;
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
 * `buildTargetQuery(url)`: the query of the target, then that of `url`, with a `?`. The query of `url` is unchanged or,
 * when `names` is given, reduced to these parameters; it cannot set a parameter of the target again. A fragment does not
 * belong in a request and is removed.
 */
export function createTargetQueryBuilder(
  names: readonly string[] | undefined,
  targetQuery = '',
): (url: string) => string {
  const allowed = names && new Set(names);
  const fixed = targetQuery === '' ? [] : [targetQuery];
  const fixedNames = new Set(targetQuery.split('&').map(decodeName).filter(Boolean).map(normalizeName));
  return function buildTargetQuery(url) {
    const start = url.indexOf('?');
    const end = url.indexOf('#', start);
    const query = start < 0 ? '' : end < 0 ? url.slice(start) : url.slice(start, end);
    if (!allowed && fixedNames.size === 0) return query;
    const remaining = query
      .slice(1)
      .split('&')
      .filter((each) => each !== '' && (allowed?.has(decodeName(each)) ?? true))
      .filter((each) => !fixedNames.has(normalizeName(decodeName(each))))
      .map((each) => each.replaceAll(';', '%3B')); // some servers treat ; as a separator of parameters
    const all = [...fixed, ...remaining];
    return all.length === 0 ? '' : `?${all.join('&')}`;
  };
}

/** Names that some server takes for the same parameter are equal: other case, `a[]`, and what PHP makes of names. */
function normalizeName(name: string): string {
  return name.replace(/\[.*$/s, '').trim().replace(/[. ]/g, '_').toLowerCase();
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
