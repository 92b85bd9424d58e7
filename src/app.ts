import { fileURLToPath } from 'node:url';
import compression from 'compression';
import express, { type Express, type Request, type Response, Router } from 'express';
import type { Config } from './config/load.ts';
import { createSessionTags } from './crypto/session-tag.ts';
import type { Deps } from './deps.ts';
import { inSequence } from './in-sequence.ts';
import { createLoginParameters } from './login/login-parameters.ts';
import { createLoginTransactions } from './login/login-transaction.ts';
import { createHostCheck } from './middleware/allowed-hosts.ts';
import { createBodyLimits } from './middleware/body-limits.ts';
import { createCors } from './middleware/cors.ts';
import { createCsrfProtection } from './middleware/csrf.ts';
import { requireDataDestination } from './middleware/data-destination.ts';
import { createForwardedHeaders } from './middleware/forwarded-headers.ts';
import { createRateLimits } from './middleware/rate-limit.ts';
import { createRequestLog } from './middleware/request-log.ts';
import { createSecurityHeaders, noStore, setNoCache } from './middleware/security-headers.ts';
import { discardUnreadBodies } from './middleware/unread-bodies.ts';
import { createRequestMetrics } from './observability/request-metrics.ts';
import { createTraceContext } from './observability/trace-context.ts';
import { listConsoleRows } from './pages/console-rows.ts';
import { createErrorResponse, notFound } from './pages/error-response.ts';
import { createI18n } from './pages/i18n.ts';
import { paths } from './paths.ts';
import { createCallUpstream } from './proxy/call-upstream.ts';
import { createForwarder, createStreamGuard } from './proxy/forward-to.ts';
import { createOpenStreams } from './proxy/open-streams.ts';
import { rejectWebSocket } from './proxy/websocket/upgrade.ts';
import { createApiRoutes } from './routes/api.ts';
import { createBackchannelLogoutRoutes } from './routes/backchannel-logout.ts';
import { createCallbackRoutes } from './routes/callback.ts';
import { type CodeRoutes, listTargets, readCodeRoutes } from './routes/code-routes.ts';
import { createConsoleRoutes } from './routes/console.ts';
import { createHealthRoutes } from './routes/health.ts';
import { createLoginRoutes } from './routes/login.ts';
import { ownRoutes } from './routes/own-routes.ts';
import { createPageRoutes } from './routes/pages.ts';
import { createSessionRoutes } from './routes/session.ts';
import { createUserSessionRoutes } from './routes/user-sessions.ts';
import { createFormSaver } from './saved-forms/save-form.ts';
import { createSavedFormRoutes } from './saved-forms/saved-form-routes.ts';
import { createMessageClasses, type MessageClasses } from './server/message-classes.ts';
import { createServices } from './services.ts';
import { createPageUserTags } from './session/page-user-tag.ts';
import { createTokenGuards } from './session/require-token.ts';
import { createSessions } from './session/session.ts';
import { createSessionEndReason } from './session/session-end-reason.ts';
import { createUserKeys } from './session/user-key.ts';
import type { TokenManager } from './tokens/token-manager.ts';

/** The paths that scripts of the origins in CORS_ORIGINS may call. */
const crossOriginPaths = [paths.api, paths.session, paths.sessions, paths.refresh, paths.logout];
/** The paths that share AUTH_RATE_LIMIT. Sign-outs have a count of their own, so that a user over the limit can sign out. */
const rateLimitedPaths = [
  ...[paths.login, paths.callback, paths.refresh, paths.session, paths.sessions, paths.console],
];
/**
 * Rejected callbacks per minute. With a valid state, each of them costs a key in Redis and a request to the provider, and
 * anybody can get a state and invent a code. Far more than the users behind one address ever cause.
 */
const maxRejectedCallbacks = 100;
/** Forms that are saved, and requests for saved forms: each costs up to 256 KiB of memory for a moment. */
const savedFormRate = { limit: 120, windowSeconds: 60 };
const resolvePath = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export interface App {
  readonly handler: Express;
  /** For the server, which would also work without them. */
  readonly messageClasses: MessageClasses;
  readonly tokens: TokenManager;
  /** Fetches the provider's metadata. Rejects when it is unavailable; the next login or refresh tries again. */
  discover(): Promise<{ readonly canRevoke: boolean; readonly canVerify: boolean }>;
  /** From now on, `/readyz` says that no new requests should be sent to this process. */
  announceShutdown(): void;
  /** Ends all open streams, and from then on each new one immediately, so that every response ends. */
  closeStreams(): void;
  /** True for the address of a peer whose `X-Forwarded-*` headers count (`TRUST_PROXY`). */
  isTrustedProxy(address: string): boolean;
  /** Waits for the background work, then stops the revocation outbox. */
  drain(): Promise<void>;
}

/** Latchkey with this configuration. Everything outside the process is reached through `deps`. */
export function createApp(config: Config, deps: Deps, defineRoutes: CodeRoutes = ownRoutes): App {
  const { now, log, metrics } = deps;
  const { publicOrigin, corsOrigins, session, authRateLimit } = config;
  const services = createServices(config, deps);
  const { oauth, tokens, appTokens, backchannelLogout } = services;

  const sessions = createSessions(session, deps.sessionStore, now);
  const { getSessionId } = sessions;
  const pageUserTags = createPageUserTags(session);
  const tokenGuards = createTokenGuards({ tokens, appTokens, pageUserTags, getSessionId, now });
  const transactions = createLoginTransactions(session, now);
  const { sessionEndEvents } = deps;
  const streams = createOpenStreams({
    sessionEndEvents,
    endsAt: tokens.endsAt,
    now,
    ...{ log, metrics },
    limits: config.limits,
  });
  const callUpstream = createCallUpstream(deps.upstream, metrics);
  const getUserKey = createUserKeys({ tokens, pageUserTags, getSessionId });
  const limit = createRateLimits({ ...deps, getUserKey });
  const limitBody = createBodyLimits({ getUserKey, log, metrics });
  const inCode = readCodeRoutes(defineRoutes, { ...tokenGuards, limitBody }, config);
  const targets = [...listTargets(inCode), ...config.routes];
  const forwardTo = createForwarder({ callUpstream, streams, now, metrics, routes: targets });
  const csrf = createCsrfProtection(publicOrigin, corsOrigins);
  const requireAllowedHost = createHostCheck(publicOrigin, config.allowedHosts);
  const { baseHeaders, apiHeaders, pageHeaders } = createSecurityHeaders(config);
  const { texts, english } = createI18n(resolvePath('../views/texts'), {
    app: config.brand.name,
    provider: config.provider.name,
  });
  const loginParameters = createLoginParameters(config);
  const getUserTags = (req: Request) => {
    const id = getSessionId(req);
    return id === undefined || !req.login ? [] : pageUserTags.tagsFor(id, req.login);
  };
  const shared = {
    ...{ loginParameters, config, oauth, tokens, sessions, pageUserTags, transactions, callUpstream },
    ...{ limitBody, reserveConnection: streams.reserveConnection, sessionTags: createSessionTags(session) },
    consoleRows: listConsoleRows([...inCode.map(({ server }) => server), ...config.routes]),
    ...tokenGuards,
    ...deps,
  };

  const { measureRequests, measureAs } = createRequestMetrics(metrics);
  const limitSaves = limit('save-form', savedFormRate);
  const saveForm = createFormSaver({ ...shared, limitSaves });
  const routes = createApiRoutes({
    ...config,
    ...tokenGuards,
    ownRoutes: inCode,
    closeWithSession: createStreamGuard(streams),
    requireAllowedHost,
    limit,
    forwardTo,
    measureAs,
  });
  const handleApi = inSequence(apiHeaders, requireDataDestination, csrf.requireSameOrigin, routes);
  const api = Router({ caseSensitive: true }).use(paths.api, handleApi);
  const preparePage = Router().use(pageHeaders, texts);

  const handler = express();
  const messageClasses = createMessageClasses(handler);
  handler.disable('x-powered-by').disable('etag').set('query parser', 'simple');
  handler.set('trust proxy', config.trustProxy).set('case sensitive routing', true);
  const trust: (address: string, hop: number) => boolean = handler.get('trust proxy fn');
  const isTrustedProxy = (address: string) => trust(address, 0);
  handler
    .set('view engine', 'ejs')
    .set('views', resolvePath('../views'))
    .set('view cache', config.production);
  handler.locals.appName = config.brand.name;
  handler.locals.appLogo = config.brand.logoUrl;

  // The order of the middleware. Each line depends on those before it.
  // 1. Request bodies that no handler reads, as every handler may respond early; what a trusted proxy says about the
  //    request, in one form; base security headers, for every response; /healthz and /readyz, before the log, which they
  //    would fill.
  const health = createHealthRoutes({ ...deps, oauth });
  const forwardedHeaders = createForwardedHeaders({ isTrustedProxy, publicOrigin, log });
  handler.use(inSequence(discardUnreadBodies, forwardedHeaders, baseHeaders, health.routes));
  // 2. Trace, metrics, request id and log line. Before everything that can fail, so that every failure is logged with its id.
  handler.use(inSequence(createTraceContext(isTrustedProxy), measureRequests, createRequestLog(log)));
  // 3. CORS headers and preflights. Before the API, so that the listed origins can also read its errors.
  if (corsOrigins.length > 0) handler.use(crossOriginPaths, createCors(corsOrigins));
  // 4. The route table under /api. Before everything for pages, because the API has its own headers, checks the origin
  //    of every method and accepts WebSockets.
  handler.use(paths.api, handleApi);
  // 5. Saves a form that the API rejected with `login_required`. Directly after the API, as it handles only its errors.
  handler.use(saveForm);
  // 6. 404 for WebSocket handshakes. After the API, which is the only place that accepts them. Then back-channel logout,
  //    before the check of origins and the rate limits: its requests come from the provider, all from one address.
  handler.use(rejectWebSocket, createBackchannelLogoutRoutes({ ...deps, config, oauth, backchannelLogout }));
  // 7. Security headers of pages. Before any page or asset is sent.
  handler.use(pageHeaders);
  // 8. Rejects unsafe cross-site requests (CSRF). Before every handler that changes something.
  handler.use(csrf.requireSameOriginForUnsafeMethods);
  // 9. Static files. Before `no-store`, as browsers may cache them.
  handler.use(
    paths.assets,
    compression(),
    express.static(resolvePath('../public'), { setHeaders: setNoCache }),
  );
  // 10. `Cache-Control: no-store`. Before the handlers that read the session.
  handler.use(noStore);
  // 11. The texts in the browser's language. Before the first handler that renders a page.
  handler.use(texts);
  // 12. AUTH_RATE_LIMIT, and the limit of saved forms. Before the endpoints that call the provider or read a body, and
  //     before sign-out, which stores that a login was cancelled.
  if (authRateLimit > 0) {
    handler.use(rateLimitedPaths, limit('auth', { limit: authRateLimit, windowSeconds: 60 }));
    handler.use(paths.logout, limit('sign-out', { limit: authRateLimit, windowSeconds: 60 }));
    const rejected = { limit: Math.min(authRateLimit, maxRejectedCallbacks), windowSeconds: 60 };
    const isRejected = ({ statusCode }: Response) => statusCode === 400;
    handler.use(paths.callback, limit('rejected-callbacks', rejected, { countsOnly: isRejected }));
  }
  handler.use(paths.savedForms, limit('saved-forms', savedFormRate));
  // 13. Login, callback, and the endpoints of the session.
  handler.use(createLoginRoutes(shared), createCallbackRoutes(shared));
  handler.use(createSessionRoutes(shared), createUserSessionRoutes(shared));
  // 14. The API console and saved forms. After the CSRF check, because they pass rewritten requests to `api`.
  handler.use(createConsoleRoutes(shared, api, saveForm), createSavedFormRoutes(shared, api));
  // 15. The pages.
  handler.use(createPageRoutes(shared));
  // 16. 404. After every route.
  handler.use(notFound);
  // 17. Looks up why a session has ended, for the error response. After every handler that may fail for that.
  handler.use(createSessionEndReason({ tokens, getSessionId }));
  // 18. Turns errors into responses. Last, so that it handles the errors of all the others.
  handler.use(
    createErrorResponse({
      ...shared,
      publicOrigin,
      corsOrigins,
      getUserTags,
      getSessionId,
      english,
      preparePage,
    }),
  );

  const { announceShutdown } = health;
  const { discover } = oauth;
  return {
    handler,
    messageClasses,
    tokens,
    discover,
    announceShutdown,
    closeStreams: streams.closeAll,
    isTrustedProxy,
    drain: services.drain,
  };
}
