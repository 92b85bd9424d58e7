import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Request, Response } from 'express';
import { createApp } from '../app.ts';
import { createDeps } from '../deps.ts';
import { AppError } from '../errors.ts';
import type { Handler, Latchkey, LatchkeyOptions } from './api.ts';
import { attachToServer } from './attach.ts';
import { createCurrentUser } from './current-user.ts';
import { createHostGuards } from './host-guards.ts';
import { bodyWasRead, createHostTrust, enterFromHost, wasBodyRead } from './host-request.ts';
import { isRedisClient, logTo, readOptions } from './options.ts';
import { createOwnErrors } from './own-errors.ts';
import { isWithoutBasePath, type MountedRequest, ownerOf } from './own-paths.ts';
import { createUserFetch } from './user-fetch.ts';

/**
 * Latchkey for an Express app. Nothing is sent before the first request or `ready()`.
 * @throws OptionsError, ConfigError with every problem
 */
export function createLatchkey(options: LatchkeyOptions = {}): Latchkey {
  const read = readOptions(options);
  const hostTrust = createHostTrust();
  const config = {
    ...read,
    ...(read.trustProxy === 0 && { trustProxy: hostTrust.isTrusted }),
    returnOrigins: [...read.returnOrigins, read.publicOrigin], // the app has pages outside the base path
  };
  const { basePath } = config;
  const mountedAt = basePath || '/';
  const deps = createDeps(config, {
    ...(options.logger && { log: logTo(options.logger, config) }),
    ...(isRedisClient(options.redis) && { redisClient: options.redis }),
  });
  const app = createApp(config, deps);
  const { parts } = app;
  const { rememberErrors, isOwnError } = createOwnErrors();
  const { guards, respondToError } = createHostGuards({ app, isOwnError, learnTrust: hostTrust.learn });
  for (const warning of config.warnings) deps.log.warn(warning);

  /** Responds to a request of the app around Latchkey. */
  function respond(req: Request, res: Response): void {
    if (wasBodyRead(req)) {
      respondToError(bodyWasRead(), req, res);
      return;
    }
    hostTrust.learn(req);
    enterFromHost(req, res);
    const url = (req.baseUrl ?? '') + req.url;
    Object.assign(req, { url, originalUrl: url, baseUrl: '' });
    app.handler(req, res);
  }

  let hasWarned = false;
  function warnIfWithoutBasePath(req: MountedRequest): void {
    if (hasWarned || !isWithoutBasePath(req, basePath)) return;
    hasWarned = true;
    deps.log.warn(
      { basePath, path: req.url?.replace(/\?.*$/s, '') },
      'a request outside the base path was left to the app; if a proxy removes the base path, let it pass the path on unchanged',
    );
  }

  function router(message: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void): void {
    const owner = ownerOf(message as MountedRequest, basePath);
    const [req, res] = [message as Request, response as Response];
    if (owner !== 'elsewhere') {
      if (owner === 'host') {
        warnIfWithoutBasePath(message as MountedRequest);
        next();
      } else respond(req, res);
      return;
    }
    const cause = new Error(
      `Latchkey is mounted at ${req.baseUrl || '/'}, but OAUTH2_REDIRECT_URI says that it is at ${mountedAt}: mount it with app.use('${mountedAt}', latchkey.router), or change the redirect URI here and at the provider`,
    );
    respondToError(new AppError('internal_error', { cause }), req, res);
  }

  let closing: Promise<void> | undefined;
  async function close(): Promise<void> {
    app.announceShutdown();
    app.closeStreams();
    try {
      await app.drain();
    } finally {
      await deps.close();
    }
  }

  return {
    router: router as Handler,
    ...guards,
    user: rememberErrors(createCurrentUser(parts)),
    fetch: rememberErrors(
      createUserFetch({
        ...parts,
        baseUrl: config.routeOptions.base,
        fetchOrigins: options.fetchOrigins ?? [],
      }),
    ) as unknown as Latchkey['fetch'],
    attach(server) {
      const isOwn = (req: IncomingMessage) =>
        ownerOf({ url: req.url } as MountedRequest, basePath) === 'latchkey';
      attachToServer(server, isOwn, (req, res) => respond(req as Request, res as Response));
    },
    metrics: () => deps.metrics.registry.metrics(),
    async ready() {
      await deps.connected();
      await Promise.all([parts.oauth.discover(), deps.tokenStore.get('readiness check')]);
    },
    close() {
      closing ??= close();
      return closing;
    },
  };
}
