import type { ServerResponse } from 'node:http';
import type { RequestHandler } from 'express';
import helmet from 'helmet';

/**
 * Pages: nothing but our own files, no inline code, in nobody's frame. Browsers hold `form-action` against redirects
 * too, and signing out leads on to the provider: `formTarget` is its origin, as soon as it is known.
 */
export function createPageHeaders(secure: boolean, formTarget: () => string | undefined): RequestHandler {
  return helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'"],
        imgSrc: ["'self'", 'https:', 'data:'],
        connectSrc: ["'self'"],
        fontSrc: ["'self'"],
        manifestSrc: ["'self'"],
        baseUri: ["'none'"],
        frameAncestors: ["'none'"],
        formAction: ["'self'", () => formTarget() ?? ''],
        ...(secure && { upgradeInsecureRequests: [] }),
      },
    },
    // `no-referrer` would make browsers send `Origin: null` with our own forms.
    referrerPolicy: { policy: 'same-origin' },
    xFrameOptions: { action: 'deny' },
    strictTransportSecurity: secure && { maxAge: 31_536_000, includeSubDomains: false },
  });
}

/** Answers of an API on our origin must never run there: whatever an upstream sends, it is data. */
export const apiHeaders: RequestHandler = function apiHeaders(_req, res, next) {
  res.setHeader('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'; sandbox");
  res.setHeader('X-Content-Type-Options', 'nosniff');
  res.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
  res.setHeader('Cache-Control', 'no-store');
  next();
};

/** Answers that depend on who asks are kept by nobody, a shared cache least of all. */
export const noStore: RequestHandler = function noStore(_req, res, next) {
  res.setHeader('Cache-Control', 'no-store');
  res.vary('Cookie');
  next();
};

/** Files of ours are asked after each time (`ETag`), so that a new release is seen at once. */
export function setNoCache(res: ServerResponse): void {
  res.setHeader('Cache-Control', 'no-cache');
}
