import type { IncomingHttpHeaders, OutgoingHttpHeader, OutgoingHttpHeaders } from 'node:http';
import type { Request } from 'express';

/** Belong to one connection, never to the next (RFC 9110 7.6.1). */
const hopByHop = [
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

const strippedRequestHeaders = new Set([
  ...hopByHop,
  'host',
  'expect',
  'http2-settings',
  // what the browser proves to us, and what it tells about our pages
  'authorization',
  'cookie',
  'cookie2',
  'origin',
  'referer',
  'latchkey-session',
  'purpose',
  // what would make another request of this one
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  'x-rewrite-url',
  'via',
  'request-id',
  'x-request-id',
]);
/** Words in the names of headers by which gateways tell an API who calls, from where and over what. */
const identityHeaderPattern =
  /^sec-|forwarded|original|identity|principal|credential|client|consumer|user(?!-agent$)|account|email|name$|group|role|auth|access|jwt|token|assertion|claim|api-?key|remote|real-?ip|connecting-ip|cert|ssl|tls|envoy|amzn|goog/;

const strippedResponseHeaders = new Set([
  ...hopByHop,
  // our origin's own affairs, and what an API may echo
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
  // an answer made for one person is kept by nobody
  'cache-control',
  'cdn-cache-control',
  'surrogate-control',
  'expires',
  'pragma',
  'age',
]);
const strippedResponseHeaderPrefixes = /^(access-control-|cross-origin-)/;

/** The caller's headers as an API may see them, without any credential, and our request id. */
export function upstreamHeaders(
  { headers, id }: Pick<Request, 'headers' | 'id'>,
  hasBody: boolean,
): Record<string, string | string[]> {
  const named = namedByConnection(headers.connection);
  const passed: Record<string, string | string[]> = { 'x-request-id': String(id) };
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined || strippedRequestHeaders.has(name) || named?.has(name)) continue;
    if (identityHeaderPattern.test(name) || name.includes('_')) continue; // some servers read _ as -
    if (!hasBody && name.startsWith('content-')) continue;
    passed[name] = value;
  }
  return passed;
}

/** The API's headers as our origin may send them; `ownVary` is what our answer varies on already, besides the cookie. */
export function browserHeaders(
  headers: IncomingHttpHeaders,
  ownVary?: OutgoingHttpHeader,
): OutgoingHttpHeaders {
  const named = namedByConnection(headers.connection);
  const passed: OutgoingHttpHeaders = {};
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined || strippedResponseHeaders.has(name) || named?.has(name)) continue;
    if (strippedResponseHeaderPrefixes.test(name)) continue;
    passed[name] = value;
  }
  passed.vary = [passed.vary, ownVary, 'Cookie'].filter((each) => each !== undefined).join(', ');
  return passed;
}

/** Headers a sender declared to be for this connection only. */
function namedByConnection(connection: string | readonly string[] | undefined): Set<string> | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined;
  return new Set(
    String(connection)
      .split(',')
      .map((each) => each.trim().toLowerCase()),
  );
}
