import type { IncomingHttpHeaders, OutgoingHttpHeader, OutgoingHttpHeaders } from 'node:http';
import type { Request } from 'express';

/** Headers that apply to one connection and are never forwarded (RFC 9110 7.6.1). */
const hopByHopHeaders = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
];

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

const strippedResponseHeaders = new Set([
  ...hopByHopHeaders,
  // headers that only Latchkey may set for its origin, and request headers that an API may echo
  'authorization',
  'cookie',
  'set-cookie',
  'set-cookie2',
  'www-authenticate',
  'clear-site-data',
  'strict-transport-security',
  'public-key-pins',
  'content-security-policy',
  'content-security-policy-report-only',
  'x-frame-options',
  'x-xss-protection',
  'x-content-type-options',
  'service-worker-allowed',
  'refresh',
  'alt-svc',
  'nel',
  'report-to',
  'reporting-endpoints',
  'x-request-id',
  'server',
  'x-powered-by',
  // caching: a response for one user must not be stored anywhere
  'cache-control',
  'cdn-cache-control',
  'surrogate-control',
  'expires',
  'pragma',
  'age',
]);
const strippedResponseHeaderPrefixes = /^(access-control-|cross-origin-)/;

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
    if (value === undefined || strippedResponseHeaders.has(name) || connectionOptions?.has(name)) continue;
    if (strippedResponseHeaderPrefixes.test(name)) continue;
    forwarded[name] = value;
  }
  forwarded.vary = [forwarded.vary, ownVary, 'Cookie'].filter((each) => each !== undefined).join(', ');
  return forwarded;
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
