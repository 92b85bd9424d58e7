const longest = 2048;

/** Pages that only lead on to a login would lead in a circle. */
const circular = /^\/+(auth(\/|$)|login(\/|$))/i;

/**
 * An absolute URL on `origin`: the one `wanted` means when that is safe, else `fallback` on it. Absolute, because
 * a path alone can mean another host to a browser (`//evil.example`, `/.//evil.example`).
 */
export function safeReturnTo(wanted: unknown, origin: string, fallback = '/profile'): string {
  const otherwise = origin + fallback;
  if (typeof wanted !== 'string' || !URL.canParse(wanted, origin)) return otherwise;
  const url = new URL(wanted, origin);
  if (url.href.length > longest) return otherwise; // it has to fit into the state, and that into a header
  // The text and not `url.origin`: a blob: URL has the origin of the page that made it.
  if (!url.href.startsWith(`${origin}/`) || circular.test(url.pathname)) return otherwise;
  return url.href;
}
