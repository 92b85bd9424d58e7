import { type RequestHandler, Router } from 'express';
import { paths } from '../paths.ts';

/** `/healthz`: this process serves; says nothing about its stores, so that an outage of theirs restarts nobody. */
export function createHealthRoutes(): RequestHandler {
  return Router().get(paths.health, (_req, res) => {
    res.set('Cache-Control', 'no-store').json({ status: 'ok' });
  });
}
