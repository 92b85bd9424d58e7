import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { format } from 'node:util';
import type { Logger } from './logger.ts';

/** EX_CONFIG of sysexits.h: a restart with the same configuration fails again. */
const exitConfig = 78;
/** How long requests in progress may take after the port is closed. */
const requestsTimeoutMs = 10_000;
/** The same for requests and background work together; docker-compose.yml allows this and SHUTDOWN_DELAY_SECONDS. */
const shutdownTimeoutMs = 15_000;

// Before anything else, because process 1 of a container ignores signals without a handler. The other modules are
// imported later, which takes half a second. Until the server listens, there is nothing to finish.
let stop = async (_signal: string): Promise<void> => process.exit(0);
let isStopping = false;
function stopOnce(reason: string): void {
  if (isStopping) return;
  isStopping = true;
  void stop(reason);
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stopOnce);

const { config: readEnvFile } = await import('dotenv');
const { ConfigError, loadConfig } = await import('./config/load.ts');
const { OwnRoutesError } = await import('./config/reading/own-route-checks.ts');
const { findIgnoredProxy } = await import('./config/reading/environment.ts');
const { ListenError, listen } = await import('./server/listen.ts');

readEnvFile({ quiet: true });

try {
  await start();
} catch (error) {
  const isConfigError = error instanceof ConfigError || error instanceof OwnRoutesError;
  if (!(isConfigError || error instanceof ListenError)) throw error;
  console.error(error.message);
  process.exit(isConfigError ? exitConfig : 1);
}

async function start(): Promise<void> {
  const config = loadConfig(process.env);
  const { createApp } = await import('./app.ts');
  const { createDeps } = await import('./deps.ts');
  const { collectLines, createLogger } = await import('./logger.ts');
  const { openStandardOutput } = await import('./standard-output.ts');
  const { createMetricsServer } = await import('./metrics/metrics-server.ts');
  const { addProcessMetrics } = await import('./metrics/metrics.ts');
  const handOver = await import('./server/hand-over.ts');
  const { handleClientErrors } = await import('./server/client-errors.ts');
  const { limitConnections, limitPipelining } = await import('./server/connection-limits.ts');
  const { serverTimes } = await import('./server/request-times.ts');
  const { disconnectStalledClients } = await import('./server/stalled-clients.ts');
  const { continueWhenRead } = await import('./server/continue-when-read.ts');
  const { trackConnections } = await import('./server/connections.ts');
  const { listenForUpgrades } = await import('./proxy/websocket/upgrade.ts');
  const standardOutput = openStandardOutput();
  const output = collectLines(standardOutput);
  process.on('exit', () => {
    output.flush();
    standardOutput.flushSync();
  });
  const log = createLogger(config.logLevel, output, config.logFormat);
  logConsoleOutput(log);
  const isSupervised = process.env.LATCHKEY_DEV === '1' && !config.production && process.send !== undefined;
  // `latchkey dev` says itself what starts and stops.
  const lifecycle = isSupervised ? 'debug' : 'info';
  log[lifecycle](
    { version: readVersion(), node: process.version, settings: config.described },
    'Latchkey is starting',
  );
  if (!config.redis)
    log[lifecycle]('REDIS_URL is not set: sessions are stored in memory and will be lost on restart');
  process.on('uncaughtExceptionMonitor', (error) =>
    log.fatal({ err: error }, 'stopping because of an unexpected error'),
  );
  const deps = createDeps(config, { log });
  // Otherwise a closed terminal must still end the process.
  if (typeof config.audit.destination === 'object') process.on('SIGHUP', deps.audit.reopen);
  const canUseProxy = process.allowedNodeEnvironmentFlags.has('--use-env-proxy');
  const ignoredProxy = findIgnoredProxy(process.env, {
    version: process.version,
    execArgv: process.execArgv,
    canUseProxy,
  });
  for (const warning of [...config.warnings, ...ignoredProxy]) log.warn(warning);

  const dropped = {
    log: deps.metrics.droppedLines({ kind: 'log' }),
    audit: deps.metrics.droppedLines({ kind: 'audit' }),
  };
  standardOutput.watch(
    (kind, lines) => dropped[kind].increment(lines),
    (lines) => log.warn({ lines }, 'lines were dropped, because nobody read the standard output'),
  );
  addProcessMetrics(deps.metrics, process.version);
  const metricsServer = createMetricsServer(deps);
  const { host, port, metricsHost, metricsPort } = config;
  if (metricsPort !== undefined) {
    const address = { host: metricsHost, port: metricsPort };
    await listen(
      metricsServer,
      { ...address, hostVariable: 'METRICS_HOST', portVariable: 'METRICS_PORT' },
      log,
    );
  }

  const app = createApp(config, deps);
  const discovered = app.discover();
  discovered.then(
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
  const replacement = isSupervised ? handOver.joinReplacement(process, config, deps) : undefined;
  const handler = replacement?.hold(app.handler) ?? app.handler;
  const server = createServer({ ...serverTimes, ...app.messageClasses });
  const connections = trackConnections(server);
  server.on('request', limitPipelining(connections.holdRequests(handler)));
  limitConnections(server, {
    limits: config.limits.connections,
    isTrustedProxy: app.isTrustedProxy,
    ...{ log, metrics: deps.metrics },
  });
  listenForUpgrades(server, handler);
  continueWhenRead(server);
  handleClientErrors(server, log);
  disconnectStalledClients(server, { timeoutMs: config.limits.clientReadTimeoutMs, log });
  await listen(server, { host, port, hostVariable: 'HOST', portVariable: 'PORT' }, log);
  log[lifecycle](
    {
      address: server.address(),
      origin: config.publicUrl,
      registration: config.session.registration,
    },
    'Latchkey is listening',
  );
  discovered.then(
    () => log[lifecycle]('Latchkey is ready: the provider metadata is available'),
    () => undefined, // logged above
  );

  async function finishAndClose(signal: string): Promise<void> {
    const delaySeconds = replacement ? 0 : config.shutdownDelaySeconds;
    log[lifecycle]({ reason: signal, delaySeconds }, 'stopping; every response closes its connection');
    connections.announceClose();
    app.announceShutdown();
    await delay(delaySeconds * 1000);
    const forceExit = setTimeout(() => {
      log.error('graceful shutdown timed out; tokens that could not be stored are lost');
      process.exit(1);
    }, shutdownTimeoutMs);
    await connections.stopAccepting();
    app.closeStreams();
    const { replacedRequestsTimeoutMs, replacedIdleTimeoutMs, replacedWorkTimeoutMs } = handOver;
    const cutOff = await (replacement
      ? connections.waitUntilClosed(replacedRequestsTimeoutMs, replacedIdleTimeoutMs)
      : connections.waitUntilClosed(requestsTimeoutMs));
    if (cutOff > 0 && !replacement) {
      log.error({ requests: cutOff }, 'requests did not end within ten seconds of shutdown and were cut off');
      process.exitCode = 1;
    }
    await Promise.race([app.drain(), ...(replacement ? [delay(replacedWorkTimeoutMs)] : [])]);
    await replacement?.release();
    await deps.close();
    metricsServer.close().closeAllConnections();
    clearTimeout(forceExit);
    log[lifecycle]({ exitCode: process.exitCode ?? 0 }, 'Latchkey has stopped');
    if (replacement) process.exit(); // its channel would keep the process alive
  }
  stop = (signal) =>
    finishAndClose(signal).catch((error) => {
      log.error({ err: error }, 'graceful shutdown failed');
      process.exit(1);
    });
  replacement?.onReplaced(() => stopOnce('replaced'));
  await replacement?.takeOver();
}

/**
 * Logs what Node and ioredis would write to the console, because log collectors expect JSON lines only: warnings, and
 * errors of connections on which nobody can listen.
 */
function logConsoleOutput(log: Logger): void {
  const { error } = console;
  const write = (parts: readonly unknown[]) => {
    const [output] = format(...parts).split('\n');
    log.warn({ output }, 'a library wrote to the console');
  };
  process.removeAllListeners('warning').on('warning', ({ name, message }) => write([`${name}: ${message}`]));
  console.warn = (...parts) => write(parts);
  console.error = (...parts) => (String(parts[0]).startsWith('[ioredis]') ? write(parts) : error(...parts));
}

/** The version of this build; `unknown` when it is run without its package.json. */
function readVersion(): string {
  try {
    return JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version;
  } catch {
    return 'unknown';
  }
}
