import { paths } from '../paths.ts';

const maxLength = 2048;

const defaultPath = paths.profile;

/** Our own endpoints, most of which would start the next login right after this one, or end the session. */
const ownEndpoints = /^\/+auth(\/|$)/i;
/** The pages among them to which a login may lead: saved forms. */
const ownPages = new RegExp(`^${paths.savedForms}/[\\w-]+$`);

/**
 * `requested` as an absolute URL if it is safe: on `origin` or one of `corsOrigins`, 2,048 characters at most, and not an
 * endpoint under /auth. Else the URL of the profile page. Absolute, because browsers take some paths for another host
 * (`//evil.example`, `/.//evil.example`).
 */
export function safeReturnTo(
  requested: unknown,
  origin: string,
  corsOrigins: readonly string[] = [],
): string {
  const defaultUrl = origin + defaultPath;
  if (typeof requested !== 'string' || !URL.canParse(requested, origin)) return defaultUrl;
  const url = new URL(requested, origin);
  if (url.href.length > maxLength) return defaultUrl; // it is sent within the state, which has to fit into a header
  // Compare the text, not `url.origin`: a blob: URL has the origin of the page that created it.
  const isUnder = (each: string) => url.href.startsWith(`${each}/`);
  if (isUnder(origin))
    return ownEndpoints.test(url.pathname) && !ownPages.test(url.pathname) ? defaultUrl : url.href;
  return corsOrigins.some(isUnder) ? url.href : defaultUrl;
}

/** `returnTo` as the value of a `return_to` parameter: relative to `origin` if it is there, else the whole URL. */
export function toReturnToParameter(returnTo: string, origin: string): string {
  const { pathname, search, hash } = new URL(returnTo);
  return returnTo.startsWith(`${origin}/`) ? pathname + search + hash : returnTo;
}
