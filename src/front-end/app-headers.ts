import type { IncomingHttpHeaders, OutgoingHttpHeader } from 'node:http';
import type { Request, Response } from 'express';
import { isLoopback } from '../config/field-types.ts';
import { takeDefaultHeaders } from '../middleware/security-headers.ts';
import { hopByHopHeaders, parseConnectionHeader, rememberNames } from '../proxy/header-names.ts';
import { proxyControlHeaders } from '../proxy/response-headers.ts';
import { filterAppCookies, removeOwnCookies } from './app-cookies.ts';

/**
 * What an app must not receive from a browser: what Latchkey and proxies assert about the request or the user, and what
 * frameworks use internally.
 */
const droppedRequestHeaders = new RegExp(
  [
    /^(host|expect|forwarded|via|http2-settings|x-real-ip|x-client-ip|true-client-ip|cf-connecting-ip|fastly-client-ip)$/,
    /^(x-forwarded|sec-websocket|latchkey|x-middleware|x-auth-request|x-authenticated|x-ms-client-principal)(-|$)/,
    /^(x-)?(remote-user|original-(url|uri|host)|rewrite-url|request-id)$/,
  ]
    .map(({ source }) => source)
    .join('|'),
);
/** What would apply to the whole origin, and thus to Latchkey, or what Latchkey says itself. */
const droppedResponseHeaders = new RegExp(
  [
    /^(strict-transport-security|expect-ct|public-key-pins.*|clear-site-data|alt-svc|alt-used|nel|report-to)$/,
    /^(set-cookie2?|x-request-id|x-content-type-options|server|x-powered-by|surrogate-.*|latchkey-.*)$/,
    proxyControlHeaders,
  ]
    .map(({ source }) => source)
    .join('|'),
);
const sharedCacheHeaders =
  /^((.+-)?cdn-cache-control|surrogate-.*|(x-)?cache-tags?|x-cache-.*|expires|pragma)$/;

const normalise = (name: string) => name.replaceAll('_', '-'); // some servers treat _ as -
const isDroppedRequestName = rememberNames((name) => droppedRequestHeaders.test(normalise(name)));
const isDroppedResponseName = rememberNames((name) => droppedResponseHeaders.test(normalise(name)));

/** `buildAppHeaders(req, hasBody)`: the headers that the app receives, without the cookies of Latchkey. */
export function createAppHeadersBuilder(app: URL, publicOrigin: string) {
  const publicUrl = new URL(publicOrigin);
  const { host, protocol, port } = publicUrl;
  // Some servers compare it with the `Origin` of forms. Elsewhere, `Host` may decide which app responds.
  const ownHost = isLoopback(app) && isLoopback(publicUrl) ? { host } : {};
  const forwarded = {
    'x-forwarded-host': host,
    'x-forwarded-proto': protocol.slice(0, -1),
    'x-forwarded-port': port || (protocol === 'https:' ? '443' : '80'),
  };
  return function buildAppHeaders(req: Request, hasBody: boolean): Record<string, string | string[]> {
    const { headers } = req;
    const connectionOptions = parseConnectionHeader(headers.connection);
    const sent: Record<string, string | string[]> = { ...ownHost, ...forwarded, 'x-request-id': req.id };
    for (const name in headers) {
      const value = headers[name];
      if (value === undefined || hopByHopHeaders.has(name) || connectionOptions?.has(name)) continue;
      if (isDroppedRequestName(name) || (!hasBody && name.startsWith('content-'))) continue;
      const allowed = name === 'cookie' ? removeOwnCookies(String(value)) : value;
      if (allowed !== undefined) sent[name] = allowed;
    }
    if (req.ip !== undefined) sent['x-forwarded-for'] = req.ip;
    return sent;
  };
}

interface BrowserHeadersOptions {
  readonly app: URL;
  readonly publicOrigin: string;
  /** Sent instead of the policy of the app, if it is `configured`, else if the app sends none. */
  readonly policy: { readonly text: string | undefined; readonly isConfigured: boolean };
  readonly isPrivate: boolean;
  readonly onRefusedCookies: () => void;
}

/** `buildBrowserHeaders(response, res)`: names and values in turn. */
export function createBrowserHeadersBuilder(options: BrowserHeadersOptions) {
  const { app, publicOrigin, policy, isPrivate, onRefusedCookies } = options;

  return function buildBrowserHeaders(
    { headers }: { readonly headers: IncomingHttpHeaders },
    res: Response,
  ): OutgoingHttpHeader[] {
    const connectionOptions = parseConnectionHeader(headers.connection);
    const sent = new Map<string, OutgoingHttpHeader>();
    const defaults = takeDefaultHeaders(res);
    for (let index = 0; index < defaults.length; index += 2)
      sent.set(String(defaults[index]).toLowerCase(), defaults[index + 1] ?? '');
    const set = (name: string, value: string | undefined) =>
      value === undefined ? sent.delete(name) : sent.set(name, value);
    set('content-security-policy', policy.text);
    for (const name in headers) {
      const value = headers[name];
      if (value === undefined || connectionOptions?.has(name) || hopByHopHeaders.has(name)) continue;
      const isAllowed = name === 'x-accel-buffering' && value === 'no';
      if (isDroppedResponseName(name) && !isAllowed) continue;
      if (name === 'content-security-policy' && policy.isConfigured) continue;
      if (isPrivate && sharedCacheHeaders.test(name)) continue;
      sent.set(name, value);
    }
    for (const name of ['location', 'content-location']) {
      const address = headers[name];
      if (address !== undefined) sent.set(name, mapAddress(String(address), app, publicOrigin));
    }
    const { allowed, refused } = filterAppCookies(headers['set-cookie'] ?? [], app.hostname);
    if (allowed.length > 0) sent.set('set-cookie', [...allowed]);
    if (refused > 0) onRefusedCookies();
    if (isPrivate) {
      sent.set('cache-control', makePrivate(headers['cache-control']));
      sent.set('vary', [headers.vary, 'Cookie'].filter(Boolean).join(', '));
    }
    return [...sent].flat();
  };
}

/** An address at the app, or at the public host with the wrong scheme, as one of the public origin. */
function mapAddress(address: string, app: URL, publicOrigin: string): string {
  if (!URL.canParse(address, app.href) || !/^([a-z][a-z\d+.-]*:|\/\/)/i.test(address)) return address;
  const { origin, host, pathname, search, hash } = new URL(address, app);
  const isApp = origin === app.origin || (address.startsWith('//') && host === app.host);
  const isPublic = /^https?:/.test(origin) && host === new URL(publicOrigin).host;
  return isApp || isPublic ? publicOrigin + pathname + search + hash : address;
}

/** `Cache-Control` without what lets a shared cache store the response. */
function makePrivate(value: string | undefined): string {
  const directives = (value ?? '')
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '' && !/^(public|private|s-maxage|proxy-revalidate)(\s*=|$)/i.test(each));
  return ['private', ...directives].join(', ');
}
