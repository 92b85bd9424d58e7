import type { IncomingHttpHeaders, OutgoingHttpHeader } from 'node:http';
import type { Response } from 'express';
import { takeDefaultHeaders } from '../middleware/security-headers.ts';
import { hopByHopHeaders, parseConnectionHeader, rememberNames } from './header-names.ts';

const nonAscii = /[^\t\x20-\x7e]/g;
const exposeHeader = 'access-control-expose-headers';

/**
 * What makes a proxy or web server in front of Latchkey do something: internal redirects to files (nginx, Apache, lighttpd,
 * LiteSpeed, Perlbal, App Engine), replays (Fly.io), affinity (Azure), health (Envoy).
 */
export const proxyControlHeaders =
  /^x-accel-|send-?file|^(x-)?(lighttpd|litespeed|reproxy|envoy|servicefabric|appengine|fly|arr|middleware|proxy|forwarded)(-|$)|^(via|priority)$/;

/**
 * What an API must not tell a proxy, a cache or a CDN in front of Latchkey, or a browser about the whole origin. An API is
 * trusted less than these; patterns, because each vendor and each specification adds further names.
 */
const droppedResponseHeaders = new RegExp(
  [
    proxyControlHeaders,
    // caches and CDNs, with `<target>-Cache-Control` (RFC 9213), tags and invalidation
    /cache|surrogate|varnish|page-?speed|(^|-)(edge|cdn|esi|purge|ban|proxy|ttl)(-|$)|^(expires|pragma|age|x?key|invalidates)$/,
    /^(x-)?(akamai|fastly|cloudflare|cf|cloudfront|netlify|vercel|incap|sucuri)-|^(variants|variant-key|no-vary-search)$/,
    // the whole origin: policies, reports, client hints, cookies, sessions, workers, preloading
    /(?<!^(x-)?ratelimit-)polic(y|ies)|(^|-)csp(-|$)|allow-origin$|allowlist$|cookie|service-worker|source-?map/,
    /^(access-control|cross-origin|origin|reporting|attribution|sec|secure-session|public-key|clear|set|idp|ad-auction|ping)-/,
    /^(strict-transport-security|expect-ct|alt-svc|alternate-protocol|alt-used|nel|report-to|refresh|uri|p3p|tk)$/,
    /-ch(-lifetime)?$|^(speculation-rules|supports-loading-mode|use-as-dictionary|default-style|window-target|allow-csp-from)$/,
    /^(shared-storage|activate-storage|observe-browsing|x-allow-fledge)|^x-(frame-options|xss-protection|content-type-options)$/,
    /^(x-(download-options|ua-compatible|dns-prefetch-control)|onion-location)$/,
    // credentials, what Latchkey sets itself, and request headers that an API may echo
    /authenticate$|authentication-info$|^(authorization|x-request-id|server|x-powered-by)$|^latchkey-/,
  ]
    .map(({ source }) => source)
    .join('|'),
);

const isDroppedName = rememberNames(
  (name) => droppedResponseHeaders.test(name.replaceAll('_', '-')), // some servers treat _ as -
);

/** What `buildBrowserHeaders` is for APIs. */
export type BrowserHeadersBuilder = (
  response: { readonly statusCode?: number | undefined; readonly headers: IncomingHttpHeaders },
  res: Response,
) => OutgoingHttpHeader[];

/**
 * The headers of a response to the browser, names and values in turn: the default headers, and those of the API's response
 * that our origin may send. `res` has the `Vary` of Latchkey and, for a page of a listed origin, the names that its scripts
 * may read, to which those of the API are added.
 */
export function buildBrowserHeaders(
  {
    statusCode = 0,
    headers,
  }: { readonly statusCode?: number | undefined; readonly headers: IncomingHttpHeaders },
  res: Response,
): OutgoingHttpHeader[] {
  const connectionOptions = parseConnectionHeader(headers.connection);
  const sent: OutgoingHttpHeader[] = takeDefaultHeaders(res);
  const firstOfApi = sent.length;
  let apiVary: string | readonly string[] | undefined;
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined || connectionOptions?.has(name)) continue;
    if (hopByHopHeaders.has(name) || isDroppedForBrowser(name, value)) continue;
    if (name === 'vary') apiVary = value;
    else if (name === 'content-disposition')
      sent.push(name, toAsciiDisposition(String([value].flat()[0] ?? '')));
    else if (name === 'content-length' && statusCode === 204)
      continue; // a client that believed it would wait for a body (RFC 9110 8.6)
    else sent.push(name, value);
  }
  const exposedByUs = res.getHeader(exposeHeader);
  const exposedByApi = headers[exposeHeader];
  if (exposedByUs !== undefined && exposedByApi !== undefined) {
    const names = sent.filter((_, index) => index >= firstOfApi && index % 2 === 0).map(String);
    sent.push(exposeHeader, mergeExposed(String(exposedByUs), String(exposedByApi), names));
  }
  const ownVary = res.getHeader('Vary');
  sent.push('vary', joinNames(apiVary, ownVary, 'Cookie'));
  return sent;
}

function joinNames(...lists: readonly (OutgoingHttpHeader | readonly string[] | undefined)[]): string {
  return lists.filter((each) => each !== undefined).join(', ');
}

/** Our names, and those of the API that the response has. `*` means all of them: browsers ignore it with cookies. */
function mergeExposed(own: string, exposedByApi: string, forwarded: readonly string[]): string {
  const requested = new Set(exposedByApi.split(',').map((each) => each.trim().toLowerCase()));
  const listed = new Set(own.split(',').map((each) => each.trim().toLowerCase()));
  const added = forwarded.filter((name) => (requested.has('*') || requested.has(name)) && !listed.has(name));
  return [own, ...added].join(',');
}

/** `X-Accel-Buffering: no` passes, because a proxy that buffers would delay streams. */
function isDroppedForBrowser(name: string, value: string | readonly string[]): boolean {
  if (name === 'x-accel-buffering') return String(value).toLowerCase() !== 'no';
  return isDroppedName(name);
}

/**
 * A `Content-Disposition` of an API in ASCII, with its file name as `filename*` (RFC 6266 4.3). Node.js decodes other
 * characters in this header as UTF-8 and sends the last byte of each, if the length of the body is known: a file name would
 * arrive as another one, and a `č` (U+010D) as a carriage return, with which an API could add a header of its own.
 * @param value as Node.js and undici represent it: one character for each byte
 */
function toAsciiDisposition(value: string): string {
  const ascii = value.replace(nonAscii, '_');
  if (ascii === value) return value;
  const [, quoted, token] = /;\s*filename=(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))/i.exec(value) ?? [];
  const name = quoted?.replace(/\\(.)/g, '$1') ?? token;
  return name === undefined || /;\s*filename\*=/i.test(value)
    ? ascii
    : `${ascii}; filename*=UTF-8''${encodeExtendedValue(decodeBytes(name))}`;
}

/** UTF-8 if it can be, as nearly all servers send it, else ISO 8859-1. */
function decodeBytes(text: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(text, 'latin1'));
  } catch {
    return text;
  }
}

/** RFC 8187 3.2.1. */
function encodeExtendedValue(text: string): string {
  return encodeURIComponent(text).replace(
    /['()*]/g,
    (each) => `%${each.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
