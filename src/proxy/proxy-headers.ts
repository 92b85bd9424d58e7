import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import type { Request } from 'express';
import type { ResourceServer } from '../config/route-table.ts';

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

/**
 * What an API receives from its callers. Everything else could assert who the caller is, or turn the request into another
 * one, to some API; a route names what it needs in `requestHeaders`.
 */
const forwardedRequestHeaders = new RegExp(
  [
    /^(accept|content|if|tus|upload|odata|apollo|mcp|want)-[a-z\d-]+$/,
    /^(accept|range|user-agent|cache-control|pragma|last-event-id|x-requested-with|idempotency-key|prefer|dnt)$/,
    /^(repr-digest|traceparent|tracestate)$/,
  ]
    .map(({ source }) => source)
    .join('|'),
);
/** What browsers and proxies add to every request, and credentials: that it is dropped is no news to anybody. */
const expectedRequestHeaders = new RegExp(
  [
    /^(sec|x-forwarded|access-control-request|cf|cdn|x-envoy|x-amzn|x-azure|x-arr|x-b3|latchkey)-/,
    /^(host|expect|http2-settings|authorization|cookie2?|origin|referer|purpose|priority|save-data|upgrade-insecure-requests)$/,
    /^(forwarded|via|x-real-ip|x-client-ip|true-client-ip|x-scheme|(x-)?request-id|x-correlation-id|x-cloud-trace-context)$/,
  ]
    .map(({ source }) => source)
    .join('|'),
);
const nonAscii = /[^\t\x20-\x7e]/g;
const exposeHeader = 'access-control-expose-headers';
/** Callers choose the names, so what a route remembers and a response repeats is limited. */
const maxReportedNames = 20;
const maxReportedLength = 64;
/** Callers and APIs choose the names; few of those in use are longer. */
const maxRememberedNames = 500;
const maxRememberedLength = 40;

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

/** The members of a row that decide which headers its API receives. */
type HeaderRules = Pick<ResourceServer, 'targetPath' | 'headers' | 'requestHeaders' | 'forwardedFor'> & {
  readonly path?: string;
};

/**
 * `buildUpstreamHeaders(req, hasBody)`: the headers of a request that the API of this row may receive, without any
 * credential, and our request id. A dropped header that the API may need is logged, once for each name, and named in the
 * response header `Latchkey-Dropped-Headers`.
 */
export function createUpstreamHeadersBuilder(row: HeaderRules) {
  const additional = new Set(row.requestHeaders);
  const reported = new Set<string>();

  function reportDropped(req: Request, names: readonly string[]): void {
    const shown = names.map((each) => each.slice(0, maxReportedLength)).slice(0, maxReportedNames);
    req.res?.setHeader('Latchkey-Dropped-Headers', shown.join(', '));
    for (const header of shown) {
      if (reported.has(header) || reported.size >= maxReportedNames) continue;
      reported.add(header);
      req.log.warn(
        { route: row.path ?? row.targetPath, header },
        'a header of the caller was dropped; if the API needs it, add it to requestHeaders of the route',
      );
    }
  }

  return function buildUpstreamHeaders(req: Request, hasBody: boolean): Record<string, string | string[]> {
    const { headers, id } = req;
    const connectionOptions = parseConnectionHeader(headers.connection);
    const forwarded: Record<string, string | string[]> = { 'x-request-id': String(id) };
    const dropped: string[] = [];
    for (const name in headers) {
      const value = headers[name];
      if (value === undefined || hopByHopHeaders.has(name) || connectionOptions?.has(name)) continue;
      if (!isForwardedName(name) && !additional.has(name)) {
        if (!isExpectedName(name) && !(name in row.headers)) dropped.push(name);
        continue;
      }
      if (!hasBody && name.startsWith('content-')) continue;
      forwarded[name] = value;
    }
    const address = row.forwardedFor ? parseAddress(req.ip ?? '') : undefined;
    if (address !== undefined) forwarded['x-forwarded-for'] = address;
    if (dropped.length > 0) reportDropped(req, dropped);
    return forwarded;
  };
}

/** The address that a proxy named, without the port that some add; `undefined` for anything that is not an address. */
function parseAddress(text: string): string | undefined {
  const address = text
    .replace(/^\[(.+)\](:\d+)?$|^([\d.]+):\d+$/, '$1$3')
    .replace(/^::ffff:(?=[\d.]+$)/i, '');
  return isIP(address) === 0 ? undefined : address;
}

/**
 * The headers of the API's response that our origin may send. `res` has the `Vary` of Latchkey and, for a page of a listed
 * origin, the names that its scripts may read, to which those of the API are added.
 */
export function buildBrowserHeaders(headers: IncomingHttpHeaders, res: ServerResponse): OutgoingHttpHeaders {
  const connectionOptions = parseConnectionHeader(headers.connection);
  const forwarded: OutgoingHttpHeaders = {};
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined || connectionOptions?.has(name)) continue;
    if (hopByHopHeaders.has(name) || isDroppedForBrowser(name, value)) continue;
    forwarded[name] = value;
  }
  const disposition = [forwarded['content-disposition']].flat()[0];
  if (disposition !== undefined) forwarded['content-disposition'] = toAsciiDisposition(String(disposition));
  const exposedByUs = res.getHeader(exposeHeader);
  const exposedByApi = headers[exposeHeader];
  if (exposedByUs !== undefined && exposedByApi !== undefined)
    forwarded[exposeHeader] = mergeExposed(String(exposedByUs), String(exposedByApi), Object.keys(forwarded));
  forwarded.vary = [forwarded.vary, res.getHeader('Vary'), 'Cookie']
    .filter((each) => each !== undefined)
    .join(', ');
  return forwarded;
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

const isForwardedName = rememberNames((name) => forwardedRequestHeaders.test(name));
const isExpectedName = rememberNames((name) => expectedRequestHeaders.test(name));
const isDroppedName = rememberNames(
  (name) => droppedResponseHeaders.test(name.replaceAll('_', '-')), // some servers treat _ as -
);

/** `test`, whose results are remembered: the names of headers are few, and the patterns are long. */
function rememberNames(test: (name: string) => boolean): (name: string) => boolean {
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
function parseConnectionHeader(connection: string | readonly string[] | undefined): Set<string> | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined;
  return new Set(
    String(connection)
      .split(',')
      .map((each) => each.trim().toLowerCase()),
  );
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
