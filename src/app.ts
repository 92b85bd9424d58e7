import { fileURLToPath } from 'node:url';
import compression from 'compression';
import express, { type Express, type Request, type Response, Router } from 'express';
import type { Config } from './config/load.ts';
import type { Deps } from './deps.ts';
import { createFrontEnd } from './front-end/front-end.ts';
import { inSequence } from './in-sequence.ts';
import { createSignInPage } from './login/sign-in-page.ts';
import { createCors } from './middleware/cors.ts';
import { requireDataDestination } from './middleware/data-destination.ts';
import { createForwardedHeaders } from './middleware/forwarded-headers.ts';
import { createRequestLog } from './middleware/request-log.ts';
import { noStore, setNoCache } from './middleware/security-headers.ts';
import { discardUnreadBodies } from './middleware/unread-bodies.ts';
import { createTraceContext } from './observability/trace-context.ts';
import { ownMiddleware } from './own/middleware.ts';
import { ownPages } from './own/pages.ts';
import { ownRoutes } from './own/routes.ts';
import { createErrorResponse, notFound } from './pages/error-response.ts';
import { openViewFolders } from './pages/view-folders.ts';
import { paths } from './paths.ts';
import { rejectWebSocket } from './proxy/websocket/upgrade.ts';
import { createApiRoutes } from './routes/api.ts';
import { createAuthRateLimits, savedFormRate } from './routes/auth-rate-limits.ts';
import { createBackchannelLogoutRoutes } from './routes/backchannel-logout.ts';
import { createMount } from './routes/base-path.ts';
import { createCallbackRoutes } from './routes/callback.ts';
import { createCodePages } from './routes/code-pages.ts';
import { createDeveloperRoutes } from './routes/developer/developer-page.ts';
import { createHealthRoutes } from './routes/health.ts';
import { createLoginRoutes } from './routes/login.ts';
import { createPageRoutes } from './routes/pages.ts';
import { createProfileRoutes } from './routes/profile.ts';
import { createSessionRoutes } from './routes/session.ts';
import { createUserSessionRoutes } from './routes/user-sessions.ts';
import { createFormSaver } from './saved-forms/save-form.ts';
import { createSavedFormRoutes } from './saved-forms/saved-form-routes.ts';
import type { MessageClasses } from './server/message-classes.ts';
import { createSignedOutPage } from './session/signed-out-page.ts';
import { createVisitorOfError } from './session/visitor-of-error.ts';
import type { TokenManager } from './tokens/token-manager.ts';
import { createExpressApp } from './wiring/express-app.ts';
import { createParts, type Parts } from './wiring/parts.ts';

/** The paths that scripts of the origins in CORS_ORIGINS may call, and the script that they may import. */
const crossOriginPaths = [
  ...[paths.api, paths.session, paths.sessions, paths.refresh, paths.logout, `${paths.assets}/latchkey.js`],
];
const resolvePath = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export interface App {
  readonly handler: Express;
  readonly parts: Parts;
  /** Responds to an error of a request that did not reach the middleware of `handler`. */
  handleError(error: unknown, req: Request, res: Response): void;
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

/** What a fork adds. */
const own = { routes: ownRoutes, pages: ownPages, middleware: ownMiddleware };

/** Latchkey with this configuration. Everything outside the process is reached through `deps`. */
export function createApp(config: Config, deps: Deps, added: Partial<typeof own> = {}): App {
  const { routes: defineRoutes, pages, middleware } = { ...own, ...added };
  const builtIn = { views: resolvePath('../views'), assets: resolvePath('../public') };
  const { views, assets, texts: translations } = openViewFolders(builtIn, config.viewsFolder);
  const { handler, messageClasses, isTrustedProxy } = createExpressApp(config, views, deps.log);
  const parts = createParts(config, deps, { defineRoutes, translations });
  const { log, limit, oauth, tokens, apiHeaders, pageHeaders, baseHeaders, measureRequests, texts } = parts;
  const { publicOrigin, corsOrigins } = config;
  const saveForm = createFormSaver({ ...parts, limitSaves: limit('save-form', savedFormRate) });
  const handleApi = inSequence(
    apiHeaders,
    requireDataDestination,
    parts.requireSameOrigin,
    createApiRoutes(parts),
  );
  const api = Router({ caseSensitive: true }).use(paths.api, handleApi);
  const preparePage = Router().use(pageHeaders, texts);

  // The order of the middleware. Each line depends on those before it.
  // 1. The base path, which no other middleware has to know. Request bodies that no handler reads, as every handler may
  //    respond early; what a trusted proxy says about the request, in one form; base security headers, for every response; /healthz
  //    and /readyz, before the log, which they would fill.
  const health = createHealthRoutes(parts);
  const forwardedHeaders = createForwardedHeaders({ isTrustedProxy, publicOrigin, log });
  const mount = createMount(config);
  handler.use(inSequence(...mount.enter, discardUnreadBodies, forwardedHeaders, baseHeaders, health.routes));
  // 2. Trace, metrics, request id and log line. Before everything that can fail, so that every failure is logged with its id.
  //    Then 404 for what is outside the base path, and the middleware of a fork.
  const logged = [createTraceContext(isTrustedProxy), measureRequests, createRequestLog(log)];
  handler.use(inSequence(...logged, ...mount.requireInside, ...middleware));
  // 3. CORS headers and preflights. Before the API, so that the listed origins can also read its errors.
  if (corsOrigins.length > 0) handler.use(crossOriginPaths, createCors(corsOrigins));
  // 4. The route table under /api. Before everything for pages, because the API has its own headers, checks the origin
  //    of every method and accepts WebSockets.
  handler.use(paths.api, handleApi);
  // 5. Saves a form that the API rejected with `login_required`. Directly after the API, as it handles only its errors.
  handler.use(saveForm);
  // 6. The operator's front end, and 404 for other WebSocket handshakes. After the API, and before the headers and checks of
  //    our pages, because the front end has its own headers and accepts WebSockets. Then back-channel logout,
  //    before the check of origins and the rate limits: its requests come from the provider, all from one address.
  handler.use(createFrontEnd({ ...parts, pages }), rejectWebSocket, createBackchannelLogoutRoutes(parts));
  // 7. Security headers of pages. Before any page or asset is sent.
  handler.use(pageHeaders);
  // 8. Rejects unsafe cross-site requests (CSRF). Before every handler that changes something.
  handler.use(parts.requireSameOriginForUnsafeMethods);
  // 9. Static files. Before `no-store`, as browsers may cache them.
  handler.use(
    paths.assets,
    compression(),
    ...assets.map((folder) => express.static(folder, { setHeaders: setNoCache, redirect: false })),
  );
  // 10. `Cache-Control: no-store`. Before the handlers that read the session.
  handler.use(noStore);
  // 11. The texts in the browser's language. Before the first handler that renders a page.
  handler.use(texts);
  // 12. AUTH_RATE_LIMIT, and the limit of saved forms. Before the endpoints that call the provider or read a body, and
  //     before sign-out, which stores that a login was cancelled.
  handler.use(createAuthRateLimits(parts));
  // 13. The sign-in page, login, callback, and the endpoints of the session.
  handler.use(createSignInPage(parts), createLoginRoutes(parts), createCallbackRoutes(parts));
  handler.use(createSessionRoutes(parts), createUserSessionRoutes(parts), createSignedOutPage(parts));
  // 14. The page for developers and saved forms. After the CSRF check, because they pass rewritten requests to `api`.
  handler.use(createDeveloperRoutes(parts, api, saveForm), createSavedFormRoutes(parts, api));
  // 15. The pages: those of a fork first, so that they can replace others.
  handler.use(createCodePages(pages, parts), createPageRoutes(parts), createProfileRoutes(parts));
  // 16. 404. After every route.
  handler.use(notFound);
  // 17. Looks up who is signed in, or why a session has ended, for the error response. After every handler.
  const findVisitorOfError = createVisitorOfError(parts);
  handler.use(findVisitorOfError);
  // 18. Turns errors into responses. Last, so that it handles the errors of all the others.
  const respondToError = createErrorResponse({ ...parts, preparePage });
  handler.use(respondToError);

  const { announceShutdown } = health;
  const { discover } = oauth;
  return {
    handler,
    parts,
    handleError(error, req, res) {
      Object.setPrototypeOf(req, handler.request);
      Object.setPrototypeOf(res, handler.response);
      Object.assign(req, { res });
      const done = () => res.destroy();
      findVisitorOfError(error, req, res, (found) => respondToError(found, req, res, done));
    },
    messageClasses,
    tokens,
    discover,
    announceShutdown,
    closeStreams: parts.closeStreams,
    isTrustedProxy,
    drain: parts.drain,
  };
}
