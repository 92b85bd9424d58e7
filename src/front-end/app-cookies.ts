/** Names that only Latchkey uses, here and on other ports of the host, with any prefix. */
const reservedName = /^(?:__(?:host|secure|http|host-http)-)?latchkey(?![a-z\d])/i;

/** A `Cookie` header without the cookies of Latchkey; `undefined` if nothing is left. */
export function removeOwnCookies(header: string): string | undefined {
  const kept = header
    .split(';')
    .map((each) => each.trim())
    .filter((each) => each !== '' && !isReserved(each));
  return kept.length > 0 ? kept.join('; ') : undefined;
}

/**
 * The cookies that an app may set, and how many it may not: those with a name of Latchkey's, and those without a name, which
 * browsers send as if their value were a name. A `Domain` that is the host of the app is removed, as browsers do not know it.
 */
export function filterAppCookies(
  cookies: readonly string[],
  appHost: string,
): { readonly allowed: readonly string[]; readonly refused: number } {
  const allowed = cookies
    .filter((each) => /^[^;=]*[^;=\s][^;=]*=/.test(each) && !isReserved(each.trim()))
    .map((each) =>
      each
        .split(';')
        .filter((part, index) => index === 0 || !isDomain(part, appHost))
        .join(';'),
    );
  return { allowed, refused: cookies.length - allowed.length };
}

function isReserved(pair: string): boolean {
  return reservedName.test(pair.replace(/^["\s]+/, ''));
}

function isDomain(attribute: string, host: string): boolean {
  const [name = '', value = ''] = attribute.split('=', 2).map((each) => each.trim().toLowerCase());
  return name === 'domain' && value.replace(/^\./, '') === host;
}
