import { createServer, type Server } from 'node:http';
import { Gauge, type Registry } from 'prom-client';
import type { Logger } from './logger.ts';

/** Adds the gauge `latchkey_revocations_pending`: tokens of ended sessions that are not revoked at the provider yet. */
export function registerRevocationGauge(metrics: Registry, pending: () => Promise<number>): void {
  new Gauge({
    name: 'latchkey_revocations_pending',
    help: 'Tokens waiting to be revoked at the provider',
    registers: [metrics],
    async collect() {
      this.set(await pending());
    },
  });
}

interface MetricsServerParts {
  readonly metrics: Registry;
  readonly log: Logger;
}

/** The server of the metrics in Prometheus text format, on every path. It needs few connections, and short ones. */
export function createMetricsServer({ metrics, log }: MetricsServerParts): Server {
  const server = createServer({ requestTimeout: 10_000 }, async (_req, res) => {
    try {
      res.setHeader('Content-Type', metrics.contentType).end(await metrics.metrics());
    } catch (error) {
      log.warn({ err: error }, 'failed to collect metrics');
      res.writeHead(503).end();
    }
  });
  server.maxConnections = 64;
  return server;
}
