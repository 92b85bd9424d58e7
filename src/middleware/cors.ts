import cors from 'cors';
import type { RequestHandler } from 'express';

const options = {
  credentials: true,
  maxAge: 600,
  exposedHeaders: [
    'Retry-After',
    'RateLimit',
    'RateLimit-Policy',
    'X-Request-Id',
    'ETag',
    'Accept-Ranges',
    'Content-Range',
    'Content-Disposition',
    'Location',
    'Link',
  ],
};

/**
 * Lets the scripts of `origins` read our answers to requests with the person's cookie, and answers their preflights
 * (Fetch 3.3). No other origin gets a header of it.
 */
export function createCors(origins: readonly string[]): RequestHandler {
  const listed = new Set(origins);
  const preflight = cors({ ...options, origin: [...origins] });
  const actual = cors({ ...options, origin: [...origins], preflightContinue: true });

  return function corsForListedOrigins(req, res, next) {
    const { origin } = req.headers;
    res.vary('Origin');
    if (origin === undefined || !listed.has(origin)) return next();
    const isPreflight =
      req.method === 'OPTIONS' && req.headers['access-control-request-method'] !== undefined;
    return (isPreflight ? preflight : actual)(req, res, next);
  };
}
