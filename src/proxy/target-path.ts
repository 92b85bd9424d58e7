import { AppError } from '../errors.ts';

/** A request with the parameters that Express has parsed; a wildcard is a list of segments. */
interface RoutedRequest {
  readonly url: string;
  readonly params: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly route?: { readonly path?: unknown };
}

/** Matches a segment that a server which decodes it too often could read as several segments or as another path. */
const unsafeSegment = /[/\\\p{Cc}]|%(?:2e|2f|5c|25|0\d|1[\da-f]|7f)|^\.{1,2}\s*(?:;|$)/iu;
/** A parameter of a pattern, and a suffix (`:id.json`). */
export const parameterSegment = /^[:*]([A-Za-z_]\w*)(.*)$/;
/** What a segment may not contain unescaped (RFC 3986 3.3); the escapes of everything else stay as they are. */
const illegalCharacters = /[^\w.~!$&'()*+,;=:@%-]/g;

/**
 * `buildTargetPath(req)`: `pattern` (`/v1/things/:id/*rest`) with its parameters filled in, percent-encoded as they were
 * received, because `%2B` and `+` are different to some servers (RFC 3986 2.2). A `:name` remains one segment whatever its
 * value, and so does each segment of a `*name`.
 * @throws AppError `not_found`: a parameter could be read as another path
 */
export function createTargetPathBuilder(pattern: string): (req: RoutedRequest) => string {
  const segments = pattern.split('/').map((text) => {
    const [, name, suffix = ''] = parameterSegment.exec(text) ?? [];
    return { text, name, suffix };
  });
  if (!segments.some(({ name }) => name)) return () => pattern;
  return function buildTargetPath(req) {
    const received = readReceivedSegments(req);
    return segments
      .map(({ text, name, suffix }) => {
        const value = name === undefined ? undefined : req.params[name];
        if (name === undefined || value === undefined) return text;
        const values = typeof value === 'string' ? [value] : value;
        return encodeSegments(values, received.get(name) ?? []) + suffix;
      })
      .join('/');
  };
}

/** The segments of each parameter as received, if the pattern of the route is made of whole segments. */
function readReceivedSegments({ url, route }: RoutedRequest): ReadonlyMap<string, readonly string[]> {
  const received = new Map<string, readonly string[]>();
  if (typeof route?.path !== 'string') return received;
  const path = url.replace(/^[a-z][a-z\d+.-]*:\/\/[^/?#]*/i, '').replace(/[?#].*$/s, '');
  const segments = path.split('/');
  for (const [index, text] of route.path.split('/').entries()) {
    if (text.startsWith('*')) received.set(text.slice(1), segments.slice(index));
    else if (text.startsWith(':')) received.set(text.slice(1), segments.slice(index, index + 1));
  }
  return received;
}

/** The last of several may be empty, as a trailing slash makes a difference to some servers. */
function encodeSegments(values: readonly string[], received: readonly string[]): string {
  return values
    .map((value, index) =>
      value === '' && index > 0 && index === values.length - 1 ? '' : encodeSegment(value, received[index]),
    )
    .join('/');
}

/** @param received used only if it means the value that was checked */
function encodeSegment(value: string, received: string | undefined): string {
  if (value === '' || unsafeSegment.test(value)) throw new AppError('not_found');
  if (received === undefined || decode(received) !== value) return encodeURIComponent(value);
  return received.replace(illegalCharacters, encodeURIComponent);
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
  const fixedNames = new Set(targetQuery.split('&').map(decodeName).filter(Boolean).flatMap(readAsServers));
  const isFixed = (pair: string) => readAsServers(decodeNameBytes(pair)).some((each) => fixedNames.has(each));
  return function buildTargetQuery(url) {
    const start = url.indexOf('?');
    const end = url.indexOf('#', start);
    const query = start < 0 ? '' : end < 0 ? url.slice(start) : url.slice(start, end);
    if (!allowed && fixedNames.size === 0) return query;
    const remaining = query
      .slice(1)
      .split('&')
      .filter((each) => each !== '' && (allowed?.has(decodeName(each)) ?? true))
      .filter((each) => !isFixed(each))
      .map((each) => each.replaceAll(';', '%3B')); // some servers treat ; as a separator of parameters
    const all = [...fixed, ...remaining];
    return all.length === 0 ? '' : `?${all.join('&')}`;
  };
}

/**
 * What servers make of the name of a parameter, in one case. Most cut it at a bracket, as in `a[]`, some ignore brackets at its
 * start, PHP ends it at a zero byte and replaces some characters, among them a bracket that is not closed.
 */
function readAsServers(name: string): readonly string[] {
  const [start = ''] = name.toLowerCase().split('\0', 1);
  const [cut = ''] = start.replace(/^[\s[\]]+/, '').split(/[[\]]/, 1);
  return [cut, start].map((each) => each.trim().replace(/[. []/g, '_'));
}

/** The name of a `name=value` pair; empty when it cannot be decoded. */
function decodeName(pair: string): string {
  return decode(readName(pair)) ?? '';
}

/** As `decodeName`, but of what is not UTF-8, each byte is a character, as it does not matter to the rest of the name. */
function decodeNameBytes(pair: string): string {
  const name = readName(pair);
  const decodeByte = (_: string, hex: string) => String.fromCharCode(Number.parseInt(hex, 16));
  return decode(name) ?? name.replace(/%([\da-f]{2})/gi, decodeByte);
}

function readName(pair: string): string {
  return (pair.split('=', 1)[0] ?? '').replaceAll('+', ' ');
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
