import { createServer } from 'node:http';
import { config as readEnvFile } from 'dotenv';
import { createApp } from './app.ts';
import { ConfigError, loadConfig } from './config/load.ts';
import { createDeps } from './deps.ts';
import { serveMetrics } from './metrics.ts';
import { handleClientErrors } from './middleware/client-errors.ts';
import { limitConnections } from './middleware/connection-limits.ts';
import { closeUnfinishedRequests, continueWhenRead, serverTimes } from './middleware/request-times.ts';
import { listenForUpgrades } from './proxy/websocket-upgrade.ts';

/** EX_CONFIG of sysexits.h: a restart with the same configuration fails again. */
const exitConfig = 78;
const shutdownTimeoutMs = 10_000;

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
  app.discover().then(
    ({ canRevoke, canVerify }) => {
      if (!canVerify)
        log.error(
          'the provider publishes no keys, so nobody can sign in: set OAUTH2_JWKS_URL, which verifies ID tokens',
        );
      if (!canRevoke)
        log.warn(
          'no revocation endpoint: sign-out will not revoke tokens at the provider (set OAUTH2_REVOCATION_URL)',
        );
    },
    (error) =>
      log.warn(
        { err: error },
        'provider metadata is not available yet; discovery will be retried on the next login or refresh',
      ),
  );

  await deps.connected();
  const server = createServer(serverTimes, app.handler);
  limitConnections(server, { limits: config.connections, isTrustedProxy: app.isTrustedProxy, log });
  closeUnfinishedRequests(server);
  continueWhenRead(server);
  listenForUpgrades(server, app.handler);
  handleClientErrors(server, log);
  server.on('error', (error: NodeJS.ErrnoException) => {
    console.error(
      error.code === 'EADDRINUSE'
        ? `Port ${config.port} is already in use. Set PORT to a different port.`
        : `Cannot listen on ${config.host}:${config.port}: ${error.message}`,
    );
    process.exit(1);
  });
  server.listen(config.port, config.host, () =>
    log.info(
      {
        address: server.address(),
        origin: config.publicOrigin,
        registration: config.session.registration,
      },
      'Latchkey is listening',
    ),
  );

  const metricsServer = config.metricsPort === undefined ? undefined : serveMetrics(deps, config.metricsPort);

  async function stop(): Promise<void> {
    const forceExit = setTimeout(() => {
      log.error('graceful shutdown timed out; tokens that could not be stored are lost');
      process.exit(1);
    }, shutdownTimeoutMs);
    const idleSweep = setInterval(() => server.closeIdleConnections(), 100); // closes each after its last request
    const closed = new Promise((done) => server.close(done));
    app.closeStreams();
    await closed;
    clearInterval(idleSweep);
    metricsServer?.close();
    await app.drain();
    await deps.close();
    clearTimeout(forceExit);
  }
  let isStopping = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => {
      if (isStopping) return;
      isStopping = true;
      stop().catch((error) => {
        log.error({ err: error }, 'graceful shutdown failed');
        process.exit(1);
      });
    });
}
