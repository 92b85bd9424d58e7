import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
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

const notForUpstream = new Set([
  ...hopByHop,
  'host',
  'expect',
  // what the browser proves to us, and what it tells about our pages
  'authorization',
  'cookie',
  'origin',
  'referer',
  'purpose',
  // what a proxy in front would say of the caller; an API may believe it
  'forwarded',
  'via',
  'true-client-ip',
  'x-real-ip',
  'x-client-ip',
  'x-cluster-client-ip',
  'cf-connecting-ip',
  'fastly-client-ip',
  'x-rewrite-url',
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  'x-access-token',
  'x-id-token',
  'x-api-key',
  'remote-user',
  'remote-groups',
  'request-id',
  'x-request-id',
]);
const notForUpstreamPrefixes =
  /^(sec-|x-forwarded-|x-original-|x-auth-|x-user|x-remote-|x-authenticated-|x-ms-client-principal|x-goog-|x-amzn-oidc-)/;

const notForBrowser = new Set([
  ...hopByHop,
  // our origin's own affairs
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
const notForBrowserPrefixes = /^(access-control-|cross-origin-)/;

/** The caller's headers as an API may see them, our bearer token the only credential, and our request id. */
export function upstreamHeaders(
  { headers, id }: Pick<Request, 'headers' | 'id'>,
  accessToken: string,
  hasBody: boolean,
): Record<string, string | string[]> {
  const named = namedByConnection(headers.connection);
  const passed: Record<string, string | string[]> = {
    authorization: `Bearer ${accessToken}`,
    'x-request-id': String(id),
  };
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined || notForUpstream.has(name) || named?.has(name)) continue;
    if (notForUpstreamPrefixes.test(name) || name.includes('_')) continue; // some servers read _ as -
    if (!hasBody && name.startsWith('content-')) continue;
    passed[name] = value;
  }
  return passed;
}

/** The API's headers as our origin may send them. */
export function browserHeaders(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  const named = namedByConnection(headers.connection);
  const passed: OutgoingHttpHeaders = {};
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined || notForBrowser.has(name) || named?.has(name)) continue;
    if (notForBrowserPrefixes.test(name)) continue;
    passed[name] = value;
  }
  passed.vary = passed.vary === undefined ? 'Cookie' : `${passed.vary}, Cookie`;
  return passed;
}

/** Headers a sender declared to be for this connection only. */
function namedByConnection(connection: string | undefined): Set<string> | undefined {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined;
  return new Set(connection.split(',').map((each) => each.trim().toLowerCase()));
}
