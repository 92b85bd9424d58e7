import { type RequestHandler, Router } from 'express';

/** `/healthz`: this process serves; says nothing about its stores, so that an outage of theirs restarts nobody. */
export function createOpsRoutes(): RequestHandler {
  return Router().get('/healthz', (_req, res) => {
    res.set('Cache-Control', 'no-store').json({ status: 'ok' });
  });
}
