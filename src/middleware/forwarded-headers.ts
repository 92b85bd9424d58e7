import type { IncomingHttpHeaders } from 'node:http';
import type { RequestHandler } from 'express';
import type { Logger } from '../logger.ts';
import { parseForwardedAddress, unknownAddress } from './client-address.ts';

interface ForwardedHeadersParts {
  readonly isTrustedProxy: (address: string) => boolean;
  readonly publicOrigin: string;
  readonly log: Logger;
}

/**
 * Rewrites what a trusted proxy says about a request into the two headers that Express reads: `X-Forwarded-For` with
 * nothing but addresses, and `X-Forwarded-Proto` with `http` or `https`. Without them, `Forwarded` (RFC 7239) and older
 * headers count; a proxy that says nothing about the scheme is taken to serve the public origin.
 */
export function createForwardedHeaders(parts: ForwardedHeadersParts): RequestHandler {
  const { isTrustedProxy, log } = parts;
  const publicScheme = new URL(parts.publicOrigin).protocol.slice(0, -1);
  let hasWarned = false;

  return function forwardedHeaders({ headers, socket }, _res, next) {
    if (isTrustedProxy(socket.remoteAddress ?? '')) {
      const addresses = readAddresses(headers);
      if (addresses) headers['x-forwarded-for'] = addresses.join(', ');
      headers['x-forwarded-proto'] = readScheme(headers) ?? publicScheme;
      if (!hasWarned && addresses?.includes(unknownAddress)) {
        hasWarned = true;
        log.warn(
          'a trusted proxy sends client addresses that are no IP addresses; they share one rate limit',
        );
      }
    }
    next();
  };
}

function readAddresses(headers: IncomingHttpHeaders): readonly string[] | undefined {
  const list = headers['x-forwarded-for'];
  const values = typeof list === 'string' ? list.split(',') : readForwarded(headers, 'for');
  return values.length > 0 ? values.map(parseForwardedAddress) : undefined;
}

/** The scheme that the client used, according to the first header that says one. */
function readScheme(headers: IncomingHttpHeaders): string | undefined {
  const isOn = (name: string) => (String(headers[name]).toLowerCase() === 'on' ? 'https' : undefined);
  const value =
    first(headers['x-forwarded-proto']) ??
    readForwarded(headers, 'proto')[0] ??
    first(headers['x-forwarded-scheme']) ??
    isOn('x-forwarded-ssl') ??
    isOn('front-end-https');
  const scheme = value?.trim().toLowerCase();
  if (scheme === 'wss') return 'https'; // as some proxies write for WebSockets
  return scheme === 'ws' ? 'http' : scheme;
}

function first(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'string' && value !== '' ? value.split(',', 1)[0] : undefined;
}

/** The values of the parameter `name` in `Forwarded`, one for each proxy that set it. */
function readForwarded({ forwarded }: IncomingHttpHeaders, name: string): readonly string[] {
  if (forwarded === undefined) return [];
  const pairs = forwarded.matchAll(/(?:^|[;,])\s*([\w-]+)=(?:"([^"]*)"|([^\s";,]*))/g);
  return [...pairs].flatMap(([, key, quoted, token]) =>
    key?.toLowerCase() === name ? [quoted ?? token ?? ''] : [],
  );
}
