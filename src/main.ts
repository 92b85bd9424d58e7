import { createServer, type Server } from 'node:http';
import { config as readEnvFile } from 'dotenv';
import { createApp } from './app.ts';
import { ConfigError, loadConfig } from './config.ts';
import { createDeps, type Deps } from './deps.ts';
import { listenForUpgrades } from './web/upgrade.ts';

/** sysexits.h EX_CONFIG: starting again without changing the configuration is of no use. */
const exitConfig = 78;
const longestGoodbyeMs = 10_000;
/** Longer than the balancers in front keep theirs, so that none of them sends into a closing connection. */
const keepAliveTimeout = 65_000;
/** A large upload takes its time; silence within it is noticed where it flows (request-body.ts). */
const requestTimeout = 3_600_000;

readEnvFile({ quiet: true });

try {
  await start();
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  console.error(error.message);
  process.exitCode = exitConfig;
}

async function start(): Promise<void> {
  const config = loadConfig(process.env);
  const deps = createDeps(config);
  const { log } = deps;
  for (const warning of config.warnings) log.warn(warning);

  const app = createApp(config, deps);
  app.ready().then(
    ({ canRevoke }) => {
      if (!canRevoke)
        log.warn(
          'No revocation endpoint is known, so sign-out cannot revoke tokens: set OAUTH2_REVOCATION_URL.',
        );
    },
    (error) =>
      log.warn(
        { err: error },
        'The metadata of the provider cannot be had yet; it is asked again when needed.',
      ),
  );

  await deps.connected();
  const server = createServer({ keepAliveTimeout, requestTimeout }, app.handler);
  listenForUpgrades(server, app.handler);
  server.on('error', (error: NodeJS.ErrnoException) => {
    console.error(
      error.code === 'EADDRINUSE'
        ? `Port ${config.port} is already in use. Set PORT to another one.`
        : `Cannot listen on ${config.host}:${config.port}: ${error.message}`,
    );
    process.exit(1);
  });
  server.listen(config.port, config.host, () =>
    log.info({ address: server.address(), origin: config.publicOrigin }, 'Latchkey is listening'),
  );

  const metricsServer = config.metricsPort === undefined ? undefined : serveMetrics(deps, config.metricsPort);

  async function stop(): Promise<void> {
    const goodbye = setTimeout(() => process.exit(1), longestGoodbyeMs);
    const leaving = setInterval(() => server.closeIdleConnections(), 100); // as each ends its last request
    const closed = new Promise((done) => server.close(done));
    app.leave();
    await closed;
    clearInterval(leaving);
    metricsServer?.close();
    await app.settled();
    await deps.close();
    clearTimeout(goodbye);
  }
  let isStopping = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => {
      if (isStopping) return;
      isStopping = true;
      stop().catch((error) => {
        log.error({ err: error }, 'the end was not an orderly one');
        process.exit(1);
      });
    });
}

/** Prometheus' text at every path, on this machine only: what is measured is the operator's business. */
function serveMetrics({ metrics, log }: Deps, port: number): Server {
  const server = createServer(async (_req, res) => {
    try {
      res.setHeader('Content-Type', metrics.contentType).end(await metrics.metrics());
    } catch (error) {
      log.warn({ err: error }, 'the metrics cannot be read now');
      res.writeHead(503).end();
    }
  });
  server.on('error', (error) => log.error({ err: error }, 'METRICS_PORT cannot be listened on'));
  return server.listen(port, '127.0.0.1');
}
