import { type RequestHandler, Router } from 'express';
import { paths } from '../paths.ts';

/** `/healthz`: 200 while the process is up. It does not check the stores, so that their outage restarts no process. */
export function createHealthRoutes(): RequestHandler {
  return Router().get(paths.health, (_req, res) => {
    res.set('Cache-Control', 'no-store').json({ status: 'ok' });
  });
}
