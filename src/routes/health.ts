import { type RequestHandler, Router } from 'express';
import { paths } from '../paths.ts';

interface HealthRoutes {
  readonly routes: RequestHandler;
  /** From now on, `/readyz` returns 503. */
  announceShutdown(): void;
}

/**
 * `/healthz`: 200 while the process is up. `/readyz`: the same until the process is told to stop, then 503, so that a load
 * balancer sends no further requests. Neither checks the stores, so that their outage restarts no process.
 */
export function createHealthRoutes(): HealthRoutes {
  let isStopping = false;
  const routes = Router()
    .get([paths.health, paths.ready], (_req, res, next) => {
      res.set('Cache-Control', 'no-store');
      next();
    })
    .get(paths.health, (_req, res) => {
      res.json({ status: 'ok' });
    })
    .get(paths.ready, (_req, res) => {
      res.status(isStopping ? 503 : 200).json({ status: isStopping ? 'stopping' : 'ok' });
    });
  return {
    routes,
    announceShutdown() {
      isStopping = true;
    },
  };
}
