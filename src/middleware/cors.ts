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
    'Latchkey-Dropped-Headers',
    'Latchkey-Error',
  ],
};

/**
 * Lets scripts of `origins` send requests with the user's cookie and read the responses, and responds to their
 * preflights (Fetch 3.3). Responses to other origins get no CORS headers.
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
