import type { ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import type { Request, RequestHandler, Response } from 'express';
import helmet from 'helmet';
import { paths } from '../paths.ts';

declare global {
  namespace Express {
    interface Response {
      /** Names and values in turn. Sent with the response, unless a header of the same name is set. */
      defaultHeaders?: readonly string[] | undefined;
    }
  }
}

interface SecurityHeaderOptions {
  /** The origin at which browsers reach this app. */
  readonly publicOrigin: string;
  readonly hsts: {
    /** True if browsers use https. */
    readonly isSent: boolean;
    readonly includeSubDomains: boolean;
  };
}

const noFrames = "frame-ancestors 'none'";

/**
 * `baseHeaders` for every response, `apiHeaders` for responses under /api, which browsers treat as data and never run on
 * our origin, and `pageHeaders` for pages.
 */
export function createSecurityHeaders({ publicOrigin, hsts }: SecurityHeaderOptions) {
  const { isSent: secure, includeSubDomains } = hsts;
  const maxAgeSeconds = 31_536_000;
  const base = {
    'Content-Security-Policy': `default-src 'none'; ${noFrames}`,
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Cross-Origin-Resource-Policy': 'same-origin',
    // With `no-referrer`, browsers would send `Origin: null` with our own forms.
    'Referrer-Policy': 'same-origin',
    ...(secure && {
      'Strict-Transport-Security': `max-age=${maxAgeSeconds}${includeSubDomains ? '; includeSubDomains' : ''}`,
    }),
  };
  const api = {
    ...base,
    'Content-Security-Policy': `default-src 'none'; ${noFrames}; sandbox`,
    'Cache-Control': 'no-store',
  };

  return {
    baseHeaders: setDefaultHeaders(base),
    apiHeaders: setDefaultHeaders(api),
    /**
     * Pages use only our own files, and images over https; no inline code; no framing; forms only to ourselves. Browsers also
     * check every redirect after a form against `form-action`, so no form may be answered with a redirect to another origin.
     */
    pageHeaders: helmet({
      contentSecurityPolicy: {
        useDefaults: false,
        directives: pageDirectives(ownFiles(publicOrigin), secure),
      },
      referrerPolicy: { policy: 'same-origin' },
      xFrameOptions: { action: 'deny' },
      strictTransportSecurity: secure && { maxAge: maxAgeSeconds, includeSubDomains },
    }),
  };
}

function pageDirectives(ownFiles: string, secure: boolean) {
  return {
    defaultSrc: ["'none'"],
    scriptSrc: [ownFiles],
    workerSrc: [ownFiles],
    styleSrc: [ownFiles],
    imgSrc: ["'self'", 'https:', 'data:'],
    connectSrc: ["'self'"],
    fontSrc: [ownFiles],
    manifestSrc: [ownFiles],
    baseUri: ["'none'"],
    frameAncestors: ["'none'"],
    formAction: ["'self'"],
    ...(secure && { upgradeInsecureRequests: [] }),
  };
}

/**
 * The directory of our files as a CSP source. `'self'` would include /api, where an API may serve files of its users. A
 * source cannot be an IP address other than 127.0.0.1 (CSP 3 6.7.2.8); on such hosts only `Sec-Fetch-Dest` protects.
 */
function ownFiles(publicOrigin: string): string {
  const { hostname } = new URL(publicOrigin);
  const isAddress = isIP(hostname.replace(/^\[|\]$/g, '')) !== 0 && hostname !== '127.0.0.1';
  return isAddress ? "'self'" : `${publicOrigin}${paths.assets}/`;
}

/** Middleware that makes `headers` the default headers of the response. Setting each of them at once would cost more. */
function setDefaultHeaders(headers: Readonly<Record<string, string>>): RequestHandler {
  const list = Object.entries(headers).flat();
  return function setDefaultHeaders(_req, res, next) {
    res.defaultHeaders = list;
    next();
  };
}

/**
 * The default headers and `X-Request-Id`, names and values in turn, for a caller that sends all headers itself; empty if
 * they have been taken before.
 */
export function takeDefaultHeaders(res: Response): string[] {
  const { defaultHeaders, req } = res;
  if (!defaultHeaders) return [];
  res.defaultHeaders = undefined;
  const { id }: Partial<Pick<Request, 'id'>> = req; // absent for health checks
  return id === undefined ? [...defaultHeaders] : [...defaultHeaders, 'X-Request-Id', id];
}

/** Forbids caching of responses that depend on the session. */
export const noStore: RequestHandler = function noStore(_req, res, next) {
  res.setHeader('Cache-Control', 'no-store');
  res.vary('Cookie');
  next();
};

/** Makes browsers revalidate our files (`ETag`), so that a new release takes effect immediately. */
export function setNoCache(res: ServerResponse): void {
  res.setHeader('Cache-Control', 'no-cache');
}
