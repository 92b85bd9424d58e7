import { paths } from '../paths.ts';

const maxLength = 2048;

/** Our own endpoints, most of which would start the next login right after this one, or end the session. */
const ownEndpoints = /^\/+auth(\/|$)/i;
/** The pages among them to which a login may lead: saved forms, and the page for developers. */
const ownPages = new RegExp(`^(${paths.savedForms}/[\\w-]+|${paths.developer})$`);

/**
 * `requested` as an absolute URL if it is safe: below `publicUrl` (our origin and base path) or on one of `returnOrigins`, 2,048
 * characters at most, and not an endpoint under /auth. Else that of `defaultPath`. Absolute, because browsers take
 * some paths for another host (`//evil.example`, `/.//evil.example`).
 */
export function safeReturnTo(
  requested: unknown,
  publicUrl: string,
  returnOrigins: readonly string[] = [],
  defaultPath: string = paths.profile,
): string {
  const defaultUrl = publicUrl + defaultPath;
  const base = `${publicUrl}/`;
  if (typeof requested !== 'string' || !URL.canParse(requested, base)) return defaultUrl;
  const url = new URL(requested, base);
  if (url.href.length > maxLength) return defaultUrl; // it is sent within the state, which has to fit into a header
  // Compare the text, not `url.origin`: a blob: URL has the origin of the page that created it.
  if (url.href.startsWith(base)) {
    const decoded = decodeSeparators(url);
    const path = decoded.slice(publicUrl.length);
    const isOwn = decoded.startsWith(base) && (!ownEndpoints.test(path) || ownPages.test(path));
    return isOwn ? url.href : defaultUrl;
  }
  return returnOrigins.some((each) => url.href.startsWith(`${each}/`)) ? url.href : defaultUrl;
}

/** Origin and path as a proxy may read them: with encoded slashes decoded, and the dot segments resolved that then appear. */
function decodeSeparators(url: URL): string {
  const decoded = new URL(url);
  decoded.pathname = url.pathname.replace(/%2f|%5c/gi, '/');
  return decoded.origin + decoded.pathname;
}

/** `returnTo` as the value of a `return_to` parameter: a path if it is below `publicUrl`, else the whole URL. */
export function toReturnToParameter(returnTo: string, publicUrl: string): string {
  const { pathname, search, hash } = new URL(returnTo);
  return returnTo.startsWith(`${publicUrl}/`) ? pathname + search + hash : returnTo;
}
