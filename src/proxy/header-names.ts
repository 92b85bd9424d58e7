/** Headers that apply to one connection and are never forwarded (RFC 9110 7.6.1). */
export const hopByHopHeaders: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Callers and APIs choose the names; few of those in use are longer. */
const maxRememberedNames = 500;
const maxRememberedLength = 40;

/** `test`, whose results are remembered: the names of headers are few, and the patterns are long. */
export function rememberNames(test: (name: string) => boolean): (name: string) => boolean {
  const results = new Map<string, boolean>();
  return function testName(name) {
    const known = results.get(name);
    if (known !== undefined) return known;
    const result = test(name);
    if (results.size < maxRememberedNames && name.length <= maxRememberedLength) results.set(name, result);
    return result;
  };
}

/** The headers that `Connection` declares to be hop-by-hop. */
export function parseConnectionHeader(
  connection: string | readonly string[] | undefined,
): Set<string> | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined;
  return new Set(
    String(connection)
      .split(',')
      .map((each) => each.trim().toLowerCase()),
  );
}
