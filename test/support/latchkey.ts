import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { createApp } from '../../src/app.ts';
import type { AuditLine } from '../../src/audit/audit-events.ts';
import { type Config, loadConfig } from '../../src/config/load.ts';
import { createDeps, type Deps } from '../../src/deps.ts';
import { createLogger } from '../../src/logger.ts';
import { listenForUpgrades } from '../../src/proxy/websocket/upgrade.ts';
import { handleClientErrors } from '../../src/server/client-errors.ts';
import { limitConnections, limitPipelining } from '../../src/server/connection-limits.ts';
import { continueWhenRead } from '../../src/server/continue-when-read.ts';
import { disconnectStalledClients } from '../../src/server/stalled-clients.ts';
import type { TokenManager } from '../../src/tokens/token-manager.ts';
import { testRedisUrl } from './test-redis.ts';

export interface LatchkeyOptions {
  readonly issuer?: string | undefined;
  readonly apiUrl: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly store?: 'memory' | 'redis';
  /** Variables that are added to the defaults, or override them; `undefined` removes one. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly deps?: Partial<Deps>;
  /** Replaces dependencies of the app, usually by wrappers of the real ones. */
  readonly wrap?: ((deps: Deps) => Partial<Deps>) | undefined;
  /** Routes, pages and middleware of a fork. */
  readonly own?: Parameters<typeof createApp>[2];
  /** A server that listens already, for tests that must know the origin first. */
  readonly server?: Server;
}

export interface Latchkey {
  readonly origin: string;
  readonly config: Config;
  readonly deps: Deps;
  readonly tokens: TokenManager;
  /** Every line logged so far. */
  readonly logLines: string[];
  /** Every line of the audit log so far, without its time. */
  auditLines(): readonly AuditLine[];
  /** Settles when no background work is left, and stops the revocation outbox. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

export const sessionSecret = 'a-secret-for-tests-that-is-long-enough';

/** A server that listens on a free port and has no request handler yet. */
export async function listenOnFreePort(): Promise<{ readonly server: Server; readonly origin: string }> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return { server, origin: `http://localhost:${(server.address() as AddressInfo).port}` };
}

/** Starts the real app on its own port, with an in-memory log at level `trace`. */
export async function startLatchkey(options: LatchkeyOptions): Promise<Latchkey> {
  const server = options.server ?? (await listenOnFreePort()).server;
  const origin = `http://localhost:${(server.address() as AddressInfo).port}`;
  const config = loadConfig({
    OAUTH2_ISSUER: options.issuer,
    OAUTH2_CLIENT_ID: options.clientId,
    OAUTH2_CLIENT_SECRET: options.clientSecret,
    OAUTH2_REDIRECT_URI: `${origin}/auth/callback`,
    OAUTH2_API_BASE_URL: options.apiUrl,
    SESSION_SECRET: sessionSecret,
    NODE_ENV: 'test',
    LOG_LEVEL: 'trace',
    AUTH_RATE_LIMIT: '0',
    // Tests expect what one instance has changed at once on another one. The variable: docs/testing.md.
    SESSION_CACHE_MS: process.env.TEST_SESSION_CACHE_MS || '0',
    ...(options.store === 'redis' && { REDIS_URL: testRedisUrl() }),
    ...options.env,
  });
  const logLines: string[] = [];
  const destination = new Writable({
    write(chunk, _encoding, done) {
      logLines.push(String(chunk));
      done();
    },
  });
  const log = createLogger(config.logLevel, destination);
  const real = { ...createDeps(config, { log, ...options.deps }), ...options.deps };
  const deps = { ...real, ...options.wrap?.(real) };
  const app = createApp(config, deps, options.own);
  await Promise.all([app.discover().catch(() => undefined), waitForStore(real)]);
  server.on('request', limitPipelining(app.handler));
  limitConnections(server, {
    limits: config.limits.connections,
    isTrustedProxy: app.isTrustedProxy,
    ...{ log, metrics: deps.metrics },
  });
  listenForUpgrades(server, app.handler);
  continueWhenRead(server);
  handleClientErrors(server, log);
  disconnectStalledClients(server, { timeoutMs: config.limits.clientReadTimeoutMs, log });
  return {
    origin,
    config,
    deps,
    tokens: app.tokens,
    logLines,
    auditLines: () => logLines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'audit'),
    drain: app.drain,
    async close() {
      app.closeStreams(); // closeAllConnections() does not close WebSockets
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
      await app.drain();
      await deps.close();
    },
  };
}

/** Settles when the token store responds, or after two seconds. Unlike main.ts, it does not wait out the reconnect grace. */
async function waitForStore({ tokenStore }: Deps): Promise<void> {
  const deadline = Date.now() + 2_000;
  const isAvailable = () =>
    tokenStore.get('no such session').then(
      () => true,
      () => false,
    );
  while (!(await isAvailable()) && Date.now() < deadline) await delay(10);
}
