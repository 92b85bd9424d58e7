import type { ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import type { Request, RequestHandler, Response } from 'express';
import helmet from 'helmet';
import { paths } from '../paths.ts';

declare global {
  namespace Express {
    interface Response {
      /** Headers as alternating names and values. Each is sent unless the response sets a header of the same name. */
      defaultHeaders?: readonly string[] | undefined;
    }
  }
}

interface SecurityHeaderOptions {
  /** The public origin and the base path. */
  readonly publicUrl: string;
  readonly hsts: {
    /** True if browsers use https. */
    readonly isSent: boolean;
    readonly includeSubDomains: boolean;
  };
}

const noFrames = "frame-ancestors 'none'";

/**
 * Returns three middlewares: `baseHeaders` for every response, `pageHeaders` for pages, and `apiHeaders` for responses
 * under /api, with which browsers never execute a response as a script of our origin.
 */
export function createSecurityHeaders({ publicUrl, hsts }: SecurityHeaderOptions) {
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
     * Pages may load only our own files, and images over https. They have no inline code, cannot be framed, and send
     * forms only to our origin. Browsers also check every redirect after a form against `form-action`, so the response
     * to a form must not redirect to another origin.
     */
    pageHeaders: helmet({
      contentSecurityPolicy: {
        useDefaults: false,
        directives: pageDirectives(ownFiles(publicUrl), secure),
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
 * The directory of our files as a CSP source. `'self'` would include /api, where an API may serve files of its users.
 * On a host that is an IP address other than 127.0.0.1, it is `'self'`, because such an address cannot be a source (CSP
 * 3 6.7.2.8); there, only the check of `Sec-Fetch-Dest` prevents that files under /api are executed.
 */
function ownFiles(publicUrl: string): string {
  const { hostname } = new URL(publicUrl);
  const isAddress = isIP(hostname.replace(/^\[|\]$/g, '')) !== 0 && hostname !== '127.0.0.1';
  return isAddress ? "'self'" : `${publicUrl}${paths.assets}/`;
}

/**
 * Middleware that makes `headers` the default headers of the response. Calling `setHeader` for each would be slower.
 */
function setDefaultHeaders(headers: Readonly<Record<string, string>>): RequestHandler {
  const list = Object.entries(headers).flat();
  return function setDefaultHeaders(_req, res, next) {
    res.defaultHeaders = list;
    next();
  };
}

/**
 * Returns the default headers and `X-Request-Id` as alternating names and values, for a caller that sends all headers
 * itself. A second call returns an empty list.
 */
export function takeDefaultHeaders(res: Response): string[] {
  const { defaultHeaders, req } = res;
  if (!defaultHeaders) return [];
  res.defaultHeaders = undefined;
  const { id }: Partial<Pick<Request, 'id'>> = req; // absent for health checks
  return id === undefined ? [...defaultHeaders] : [...defaultHeaders, 'X-Request-Id', id];
}

/** Middleware for responses that depend on the session: forbids caching them. */
export const noStore: RequestHandler = function noStore(_req, res, next) {
  res.setHeader('Cache-Control', 'no-store');
  res.vary('Cookie');
  next();
};

/** Makes browsers revalidate our files (`ETag`), so that a new release takes effect immediately. */
export function setNoCache(res: ServerResponse): void {
  res.setHeader('Cache-Control', 'no-cache');
}
