import { isIP } from 'node:net';
import type { Request } from 'express';
import { createIdentityHeaders, normalizeHeaderName } from '../claims/identity-headers.ts';
import type { ResourceServer } from '../config/route-table.ts';
import { claimsOf, type TokenRecord } from '../tokens/token-store.ts';
import { hopByHopHeaders, parseConnectionHeader, rememberNames } from './header-names.ts';

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
/** Callers choose the names, so what a route remembers and a response repeats is limited. */
const maxReportedNames = 20;
const maxReportedLength = 64;

const isForwardedName = rememberNames((name) => forwardedRequestHeaders.test(name));
const isExpectedName = rememberNames((name) => expectedRequestHeaders.test(name));

/** The members of a row that decide which headers its API receives. */
type HeaderRules = Pick<
  ResourceServer,
  'targetPath' | 'headers' | 'identityHeaders' | 'requestHeaders' | 'forwardedFor'
> & {
  readonly path?: string;
};

/**
 * `buildUpstreamHeaders(req, hasBody)`: the headers of a request that the API of this row may receive, without any
 * credential, and our request id. A dropped header that the API may need is logged, once for each name, and named in the
 * response header `Latchkey-Dropped-Headers`.
 */
export function createUpstreamHeadersBuilder(row: HeaderRules) {
  const additional = new Set(row.requestHeaders);
  const identityNames = new Set(Object.keys(row.identityHeaders).map(normalizeHeaderName));
  const hasIdentity = identityNames.size > 0;
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

  /** The headers that say who the user is. */
  function describeUser({ log }: Request, login: TokenRecord): Record<string, string> {
    return createIdentityHeaders(row.identityHeaders, claimsOf(login), (header) =>
      log.warn(
        { route: row.path ?? row.targetPath, header },
        'the claim for a header of identityHeaders is too long; the API does not get the header',
      ),
    );
  }

  return function buildUpstreamHeaders(req: Request, hasBody: boolean): Record<string, string | string[]> {
    const { headers, id } = req;
    const connectionOptions = parseConnectionHeader(headers.connection);
    const forwarded: Record<string, string | string[]> = { 'x-request-id': id };
    const dropped: string[] = [];
    for (const name in headers) {
      const value = headers[name];
      if (value === undefined || hopByHopHeaders.has(name) || connectionOptions?.has(name)) continue;
      if (hasIdentity && identityNames.has(normalizeHeaderName(name))) continue; // in any spelling
      if (!isForwardedName(name) && !additional.has(name)) {
        if (!isExpectedName(name) && !(name in row.headers)) dropped.push(name);
        continue;
      }
      if (!hasBody && name.startsWith('content-')) continue;
      forwarded[name] = value;
    }
    if (hasIdentity && req.login) Object.assign(forwarded, describeUser(req, req.login));
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
