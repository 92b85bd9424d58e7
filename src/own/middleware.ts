import type { RequestHandler } from 'express';

/**
 * Your middleware, for every request except `/healthz` and `/readyz`. It runs after the request id and the log line, and before
 * everything that responds. Requests to `/api` pass through it too: keep it short.
 */
export const ownMiddleware: readonly RequestHandler[] = [
  // (_req, res, next) => {
  //   res.set('X-Team', 'garden');
  //   next();
  // },
];
