import type { IncomingHttpHeaders, OutgoingHttpHeader, OutgoingHttpHeaders } from 'node:http';
import type { Request } from 'express';

/** Headers that apply to one connection and are never forwarded (RFC 9110 7.6.1). */
const hopByHopHeaders = new Set([
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

/** By exact name; headers that assert the caller's identity are matched by `identityHeaderPattern`. */
const strippedRequestHeaders = new Set([
  ...hopByHopHeaders,
  'host',
  'expect',
  'http2-settings',
  // credentials for Latchkey, and information about its pages
  'authorization',
  'cookie',
  'cookie2',
  'origin',
  'referer',
  'latchkey-session',
  'purpose',
  // headers that would turn this request into a different one
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  'x-rewrite-url',
  'via',
  'request-id',
  'x-request-id',
]);
/** Matches the headers with which gateways tell an API who the caller is, from where and over which connection. */
const identityHeaderPattern =
  /^sec-|forwarded|original|identity|principal|credential|client|consumer|user(?!-agent$)|account|email|name$|group|role|auth|access|jwt|token|assertion|claim|api-?key|remote|real-?ip|connecting-ip|cert|ssl|tls|envoy|amzn|goog/;

/**
 * What an API must not tell a proxy, a cache or a CDN in front of Latchkey, or a browser about the whole origin. An API is
 * trusted less than these; patterns, because each vendor and each specification adds further names.
 */
const droppedResponseHeaders = new RegExp(
  [
    // proxies and web servers: internal redirects to files (nginx, Apache, lighttpd, LiteSpeed, Perlbal, App Engine), replays
    // (Fly.io), affinity (Azure), health (Envoy)
    /^x-accel-|send-?file/,
    /^(x-)?(lighttpd|litespeed|reproxy|envoy|servicefabric|appengine|fly|arr|middleware|proxy|forwarded)(-|$)|^(via|priority)$/,
    // caches and CDNs, with `<target>-Cache-Control` (RFC 9213), tags and invalidation
    /cache|surrogate|varnish|page-?speed|(^|-)(edge|cdn|esi|purge|ban)(-|$)|^(expires|pragma|age|x?key|x-ttl|invalidates)$/,
    /^(x-)?(akamai|fastly|cloudflare|cf|cloudfront|netlify|vercel|incap|sucuri)-|^(variants|variant-key|no-vary-search)$/,
    // the whole origin: policies, reports, client hints, cookies, sessions, workers, preloading
    /(?<!^(x-)?ratelimit-)polic(y|ies)|(^|-)csp(-|$)|allow-origin$|allowlist$|cookie|service-worker|source-?map/,
    /^(access-control|cross-origin|origin|reporting|attribution|sec|secure-session|public-key|clear|set|idp|ad-auction|ping)-/,
    /^(strict-transport-security|expect-ct|alt-svc|alternate-protocol|alt-used|nel|report-to|refresh|uri|p3p|tk)$/,
    /-ch(-lifetime)?$|^(speculation-rules|supports-loading-mode|use-as-dictionary|default-style|window-target|allow-csp-from)$/,
    /^(shared-storage|activate-storage|observe-browsing|x-allow-fledge)|^x-(frame-options|xss-protection|content-type-options)$/,
    /^x-(download-options|ua-compatible|dns-prefetch-control)$/,
    // credentials, what Latchkey sets itself, and request headers that an API may echo
    /authenticate$|authentication-info$|^(authorization|x-request-id|server|x-powered-by)$|^latchkey-/,
  ]
    .map(({ source }) => source)
    .join('|'),
);

/** The headers of a request that the API may receive, without any credential, and our request id. */
export function buildUpstreamHeaders(
  { headers, id }: Pick<Request, 'headers' | 'id'>,
  hasBody: boolean,
): Record<string, string | string[]> {
  const connectionOptions = parseConnectionHeader(headers.connection);
  const forwarded: Record<string, string | string[]> = { 'x-request-id': String(id) };
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined || strippedRequestHeaders.has(name) || connectionOptions?.has(name)) continue;
    if (identityHeaderPattern.test(name) || name.includes('_')) continue; // some servers treat _ as -
    if (!hasBody && name.startsWith('content-')) continue;
    forwarded[name] = value;
  }
  return forwarded;
}

/** The headers of the API's response that our origin may send; `ownVary` is the `Vary` that is already set. */
export function buildBrowserHeaders(
  headers: IncomingHttpHeaders,
  ownVary?: OutgoingHttpHeader,
): OutgoingHttpHeaders {
  const connectionOptions = parseConnectionHeader(headers.connection);
  const forwarded: OutgoingHttpHeaders = {};
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined || connectionOptions?.has(name)) continue;
    if (hopByHopHeaders.has(name) || isDroppedForBrowser(name, value)) continue;
    forwarded[name] = value;
  }
  forwarded.vary = [forwarded.vary, ownVary, 'Cookie'].filter((each) => each !== undefined).join(', ');
  return forwarded;
}

/** `X-Accel-Buffering: no` passes, because a proxy that buffers would delay streams. */
function isDroppedForBrowser(name: string, value: string | readonly string[]): boolean {
  if (name === 'x-accel-buffering') return String(value).toLowerCase() !== 'no';
  return droppedResponseHeaders.test(name.replaceAll('_', '-')); // some servers treat _ as -
}

/** The headers that `Connection` declares to be hop-by-hop. */
function parseConnectionHeader(connection: string | readonly string[] | undefined): Set<string> | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined;
  return new Set(
    String(connection)
      .split(',')
      .map((each) => each.trim().toLowerCase()),
  );
}
