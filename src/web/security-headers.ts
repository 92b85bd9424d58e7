import type { RequestHandler } from 'express';
import helmet from 'helmet';

/** Pages: nothing but our own files, no inline code. Forms may lead on to `formTargets` (the provider's sign-out). */
export function createPageHeaders(secure: boolean, formTargets: () => readonly string[]): RequestHandler {
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
        formAction: ["'self'", () => formTargets().join(' ')],
        ...(secure && { upgradeInsecureRequests: [] }),
      },
    },
    // `no-referrer` would make browsers send `Origin: null` with our own forms.
    referrerPolicy: { policy: 'same-origin' },
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
export const privateAnswer: RequestHandler = function privateAnswer(_req, res, next) {
  res.setHeader('Cache-Control', 'no-store');
  res.vary('Cookie');
  next();
};
