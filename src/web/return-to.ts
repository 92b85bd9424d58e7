const longest = 2048;

const fallback = '/profile';

/** Pages that only lead on to a login would lead in a circle. */
const circular = /^\/+(auth(\/|$)|login(\/|$))/i;

/**
 * An absolute URL on `origin`, or on one of `corsOrigins` when `wanted` is one: the one `wanted` means when that is
 * safe, else the profile page. Absolute, because a path alone can mean another host to a browser (`//evil.example`,
 * `/.//evil.example`).
 */
export function safeReturnTo(wanted: unknown, origin: string, corsOrigins: readonly string[] = []): string {
  const otherwise = origin + fallback;
  if (typeof wanted !== 'string' || !URL.canParse(wanted, origin)) return otherwise;
  const url = new URL(wanted, origin);
  if (url.href.length > longest) return otherwise; // it has to fit into the state, and that into a header
  // The text and not `url.origin`: a blob: URL has the origin of the page that made it.
  const isOn = (each: string) => url.href.startsWith(`${each}/`);
  if (isOn(origin)) return circular.test(url.pathname) ? otherwise : url.href;
  return corsOrigins.some(isOn) ? url.href : otherwise;
}

/** What of `returnTo` a `return_to` parameter has to say: all of it only when it is not on `origin`. */
export function returnToParameter(returnTo: string, origin: string): string {
  const { pathname, search } = new URL(returnTo);
  return returnTo.startsWith(`${origin}/`) ? pathname + search : returnTo;
}
