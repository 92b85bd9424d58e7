import { type RequestHandler, Router } from 'express';
import type { Metrics } from '../metrics/metrics.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { createReadiness } from '../observability/readiness.ts';
import { paths } from '../paths.ts';
import type { TokenStore } from '../tokens/token-store.ts';

interface HealthParts {
  readonly tokenStore: Pick<TokenStore, 'get'>;
  readonly oauth: Pick<OAuthClient, 'discover'>;
  readonly metrics: Pick<Metrics, 'collectReadiness'>;
}

interface HealthRoutes {
  readonly routes: RequestHandler;
  /** From now on, `/readyz` returns 503. */
  announceShutdown(): void;
}

/**
 * `/healthz`: 200 while the process is up; it checks nothing else, so that an outage restarts no process. `/readyz`: 200
 * while the store and the provider's metadata are available and the process is not told to stop, else 503, so that a load
 * balancer sends no further requests. It names the part that fails.
 */
export function createHealthRoutes({ tokenStore, oauth, metrics }: HealthParts): HealthRoutes {
  const readReadiness = createReadiness({
    checkStore: () => tokenStore.get('readiness check'),
    checkProvider: oauth.discover,
  });
  metrics.collectReadiness(readReadiness);
  let isStopping = false;
  const describe = (isReady: boolean) => (isReady ? 'ok' : 'failing');
  const routes = Router()
    .get([paths.health, paths.ready], (_req, res, next) => {
      res.set('Cache-Control', 'no-store');
      next();
    })
    .get(paths.health, (_req, res) => {
      res.json({ status: 'ok' });
    })
    .get(paths.ready, async (_req, res) => {
      const parts = isStopping ? undefined : await readReadiness();
      if (!parts || isStopping) {
        res.status(503).json({ status: 'stopping' });
        return;
      }
      const { store, provider } = parts;
      const isReady = store && provider;
      const body = { status: describe(isReady), store: describe(store), provider: describe(provider) };
      res.status(isReady ? 200 : 503).json(body);
    });
  return {
    routes: (req, res, next) => {
      if (req.url.startsWith(paths.health) || req.url.startsWith(paths.ready)) routes(req, res, next);
      else next();
    },
    announceShutdown() {
      isStopping = true;
    },
  };
}
