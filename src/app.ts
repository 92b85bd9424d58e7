import { fileURLToPath } from 'node:url';
import compression from 'compression';
import express, { type Express, Router } from 'express';
import type { Config } from './config.ts';
import type { Deps } from './deps.ts';
import { measureRevocations } from './metrics.ts';
import { createOAuthClient } from './oauth/client.ts';
import { createApiRoutes } from './routes/api.ts';
import { createAuthRoutes } from './routes/auth.ts';
import { createConsoleRoutes } from './routes/console-calls.ts';
import { createOpsRoutes } from './routes/ops.ts';
import { createPageRoutes } from './routes/pages.ts';
import { createResumeRoutes } from './routes/resume.ts';
import { createClientCredentialsManager } from './tokens/client-credentials.ts';
import { createAttempt } from './tokens/revocation-outbox.ts';
import { createTokenManager } from './tokens/token-manager.ts';
import { createCors } from './web/cors.ts';
import { createErrorResponse } from './web/error-response.ts';
import { createGuards } from './web/guards.ts';
import { createKeepForm } from './web/kept-form.ts';
import { createLoginTransactions } from './web/login-transaction.ts';
import { createForwardTo } from './web/proxy.ts';
import { createRateLimits } from './web/rate-limit.ts';
import { createRequestLog } from './web/request-log.ts';
import { createSameOrigin } from './web/same-origin.ts';
import { apiHeaders, createPageHeaders, privateAnswer, revalidated } from './web/security-headers.ts';
import { createSessions } from './web/session.ts';
import { createSessionMarks } from './web/session-mark.ts';
import { createSessionStreams } from './web/session-streams.ts';
import { createTexts } from './web/texts.ts';
import { refuseWebSocket } from './web/upgrade.ts';
import { createCallUpstream } from './web/upstream.ts';

/** What a page of another origin may call, when CORS_ORIGINS lists it. */
const crossOriginPaths = ['/api', '/auth/session', '/auth/refresh', '/auth/logout'];
/** All of /auth but signing out, which nobody may be kept from. */
const limitedPaths = ['/auth/login', '/auth/callback', '/auth/refresh', '/auth/session'];
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export interface App {
  readonly handler: Express;
  /** Settles when the provider's metadata is known; rejects when it cannot be had now (it is asked again later). */
  ready(): Promise<{ readonly canRevoke: boolean }>;
  /** Ends the streams that are open, and those to come: no answer goes on for ever from now on. */
  leave(): void;
  /** Settles when nothing is under way behind the answers that went out, and nothing more begins by itself. */
  settled(): Promise<void>;
}

/** One Latchkey: everything it knows of the world comes from `config` and `deps`. */
export function createApp(config: Config, deps: Deps): App {
  const { now, log } = deps;
  const oauth = createOAuthClient(config.provider, config.publicOrigin, deps);
  const outbox = deps.revocationOutbox(createAttempt(oauth, now, log));
  measureRevocations(deps.metrics, outbox.pending);
  const tokens = createTokenManager({ store: deps.tokenStore, oauth, outbox, now, log });
  const appOAuth = config.app.provider
    ? createOAuthClient(config.app.provider, config.publicOrigin, deps)
    : oauth;
  const appTokens = createClientCredentialsManager({
    store: deps.appTokenStore,
    oauth: appOAuth,
    scopes: config.app.scopes,
    now,
    log,
  });
  const sessions = createSessions(config.session, deps.sessionStore, now);
  const streams = createSessionStreams({ ends: deps.sessionEnds, endsAt: tokens.endsAt, now, log });
  const transactions = createLoginTransactions(config.session, now);
  const sameOrigin = createSameOrigin(config.publicOrigin, config.corsOrigins);
  const marks = createSessionMarks(config.session.secrets);
  const guards = createGuards({ tokens, appTokens, marks, idOf: sessions.idOf, now });
  const callUpstream = createCallUpstream(deps.upstream);
  const forwardTo = createForwardTo({ callUpstream, streams, now });
  const limit = createRateLimits({ ...deps, idOf: sessions.idOf });
  const pageHeaders = createPageHeaders(config.session.cookie.secure, () => oauth.endSessionUrl()?.origin);
  const texts = createTexts(here('../views/texts'), {
    app: config.brand.name,
    provider: config.provider.name,
  });
  const shared = { config, oauth, tokens, sessions, marks, transactions, callUpstream, ...guards, ...deps };

  const api = Router({ caseSensitive: true }).use(
    '/api',
    apiHeaders,
    createApiRoutes({ ...config, ...sameOrigin, ...guards, limit, forwardTo }),
  );

  const handler = express();
  handler.disable('x-powered-by').disable('etag').set('query parser', 'simple');
  handler.set('trust proxy', config.trustProxy).set('case sensitive routing', true);
  handler.set('view engine', 'ejs').set('views', here('../views')).set('view cache', config.production);
  handler.locals.appName = config.brand.name;
  handler.locals.appLogo = config.brand.logoUrl;

  handler.use(createOpsRoutes(), createRequestLog(log));
  if (config.corsOrigins.length > 0) handler.use(crossOriginPaths, createCors(config.corsOrigins));
  const keepForm = createKeepForm(shared);
  handler.use(api, keepForm);
  handler.use(refuseWebSocket, pageHeaders, sameOrigin.requireSameOriginToChange);
  handler.use('/assets', compression(), express.static(here('../public'), { setHeaders: revalidated }));
  handler.use(privateAnswer, texts);
  if (config.authRateLimit > 0)
    handler.use(limitedPaths, limit('auth', { limit: config.authRateLimit, windowSeconds: 60 }));
  handler.use('/auth', createAuthRoutes(shared));
  handler.use(createConsoleRoutes(shared, api, keepForm), createResumeRoutes(shared, api));
  handler.use(createPageRoutes(shared));
  handler.use(createErrorResponse(config.publicOrigin, Router().use(pageHeaders, texts), config.corsOrigins));
  async function settled(): Promise<void> {
    await Promise.all([tokens.settled(), appTokens.settled()]);
    outbox.close();
  }
  return { handler, ready: oauth.ready, leave: streams.closeAll, settled };
}
