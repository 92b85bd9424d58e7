import { createServer, type Server } from 'node:http';
import type { Logger } from '../logger.ts';
import type { Metrics } from './metrics.ts';

interface MetricsServerParts {
  readonly metrics: Metrics;
  readonly log: Logger;
}

/** An HTTP server that returns the metrics in Prometheus text format on every path. It accepts few connections. */
export function createMetricsServer({ metrics: { registry }, log }: MetricsServerParts): Server {
  const server = createServer({ requestTimeout: 10_000 }, async (_req, res) => {
    try {
      res.setHeader('Content-Type', registry.contentType).end(await registry.metrics());
    } catch (error) {
      log.warn({ err: error }, 'failed to collect metrics');
      res.writeHead(503).end();
    }
  });
  server.maxConnections = 64;
  return server;
}
