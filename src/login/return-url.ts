import { paths } from '../paths.ts';

const maxLength = 2048;

const defaultPath = paths.profile;

/** Pages that only lead on to a login would lead in a circle. */
const loopingPaths = /^\/+(auth(\/|$)|login(\/|$))/i;

/**
 * An absolute URL on `origin`, or on one of `corsOrigins` when `requested` is one: the one `requested` means when that is
 * safe, else the profile page. Absolute, because a path alone can mean another host to a browser (`//evil.example`,
 * `/.//evil.example`).
 */
export function safeReturnTo(
  requested: unknown,
  origin: string,
  corsOrigins: readonly string[] = [],
): string {
  const defaultUrl = origin + defaultPath;
  if (typeof requested !== 'string' || !URL.canParse(requested, origin)) return defaultUrl;
  const url = new URL(requested, origin);
  if (url.href.length > maxLength) return defaultUrl; // it has to fit into the state, and that into a header
  // The text and not `url.origin`: a blob: URL has the origin of the page that made it.
  const isUnder = (each: string) => url.href.startsWith(`${each}/`);
  if (isUnder(origin)) return loopingPaths.test(url.pathname) ? defaultUrl : url.href;
  return corsOrigins.some(isUnder) ? url.href : defaultUrl;
}

/** What of `returnTo` a `return_to` parameter has to say: all of it only when it is not on `origin`. */
export function returnToParameter(returnTo: string, origin: string): string {
  const { pathname, search } = new URL(returnTo);
  return returnTo.startsWith(`${origin}/`) ? pathname + search : returnTo;
}
