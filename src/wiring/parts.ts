import type { Request } from 'express';
import type { Config } from '../config/load.ts';
import { createSessionTags } from '../crypto/session-tag.ts';
import type { Deps } from '../deps.ts';
import { inSequence } from '../in-sequence.ts';
import { createLoginParameters } from '../login/login-parameters.ts';
import { createLoginTransactions } from '../login/login-transaction.ts';
import { createSignInRedirect } from '../login/sign-in-redirect.ts';
import { createHostCheck } from '../middleware/allowed-hosts.ts';
import { createBodyLimits } from '../middleware/body-limits.ts';
import { createCsrfProtection } from '../middleware/csrf.ts';
import { createRateLimits } from '../middleware/rate-limit.ts';
import { createSecurityHeaders } from '../middleware/security-headers.ts';
import { createRequestMetrics } from '../observability/request-metrics.ts';
import { listConsoleRows } from '../pages/console-rows.ts';
import { createI18n } from '../pages/i18n.ts';
import type { ViewFolders } from '../pages/view-folders.ts';
import { createVisitorLocals } from '../pages/visitor.ts';
import { createCallUpstream } from '../proxy/call-upstream.ts';
import { createForwarder, createStreamGuard } from '../proxy/forward-to.ts';
import { createOpenStreams } from '../proxy/open-streams.ts';
import { type CodeRoutes, listTargets, readCodeRoutes } from '../routes/code-routes.ts';
import { createFlashCookie } from '../session/flash.ts';
import { createPageUser } from '../session/page-user.ts';
import { createPageUserTags } from '../session/page-user-tag.ts';
import { createClaimGuards } from '../session/require-claim.ts';
import { createTokenGuards } from '../session/require-token.ts';
import { createSessions } from '../session/session.ts';
import { createUserKeys } from '../session/user-key.ts';
import { createServices } from './services.ts';

/** What `createParts` returns. */
export type Parts = ReturnType<typeof createParts>;

/**
 * Everything that the routes and the middleware are created from, by name, without Express itself. `app.ts` passes it to
 * each of them, and each takes what it declares.
 */
export function createParts(
  config: Config,
  deps: Deps,
  {
    defineRoutes,
    translations,
  }: { readonly defineRoutes: CodeRoutes; readonly translations: ViewFolders['texts'] },
) {
  const { now, log, metrics, sessionEndEvents } = deps;
  const { publicOrigin, publicUrl, basePath, corsOrigins, session } = config;
  const neededClaims = new Set(config.access.neededClaims);
  const services = createServices(config, deps, neededClaims);
  const { tokens, appTokens } = services;
  const sessions = createSessions(session, deps.sessionStore, now);
  const { getSessionId } = sessions;
  const pageUserTags = createPageUserTags(session);
  const callUpstream = createCallUpstream(deps.upstream, metrics);
  const streams = createOpenStreams({
    ...{ sessionEndEvents, now, log, metrics },
    endsAt: tokens.endsAt,
    limits: config.limits,
  });
  const tokenGuards = createTokenGuards({ tokens, appTokens, pageUserTags, getSessionId, now });
  const getUserKey = createUserKeys({ tokens, pageUserTags, getSessionId });
  const limitBody = createBodyLimits({ getUserKey, log, metrics });
  const isEmailVerifiedOptional = config.provider.deviations.includes('email-verified-missing');
  const claimGuards = createClaimGuards({ isEmailVerifiedOptional, neededClaims });
  const ownRoutes = readCodeRoutes(defineRoutes, { ...tokenGuards, ...claimGuards, limitBody }, config);
  const targets = [...listTargets(ownRoutes), ...config.routes];
  const { measureRequests, measureAs, measureFrontEnd } = createRequestMetrics(metrics);
  const { texts: languageTexts, english } = createI18n(translations, {
    app: config.brand.name,
    provider: config.provider.name,
  });
  const transactions = createLoginTransactions(session, now);
  const flash = createFlashCookie(session, now);
  const getUserTags = (req: Request) => {
    const id = getSessionId(req);
    return id === undefined || !req.login ? [] : pageUserTags.tagsFor(id, req.login);
  };

  return {
    ...deps,
    ...services,
    ...{
      config,
      publicOrigin,
      publicUrl,
      basePath,
      returnOrigins: config.returnOrigins,
      landingPath: config.landingPath,
      routes: config.routes,
    },
    ...{
      sessions,
      getSessionId,
      pageUserTags,
      describePageUser: createPageUser(pageUserTags, config.access.sessionClaims),
      getUserTags,
      sessionTags: createSessionTags(session),
    },
    ...tokenGuards,
    ...claimGuards,
    ...{
      ownRoutes,
      // Whose token a route in code sends, only its handlers know.
      consoleRows: listConsoleRows([
        ...ownRoutes.map(({ server: { token: _, ...server } }) => server),
        ...config.routes,
      ]),
    },
    closeWithSession: createStreamGuard(streams),
    ...{
      loginParameters: createLoginParameters(config),
      transactions,
    },
    ...createSignInRedirect({ tokens, getSessionId, transactions, publicUrl }),
    ...{
      callUpstream,
      streams,
      closeStreams: streams.closeAll,
      reserveConnection: streams.reserveConnection,
    },
    forwardTo: createForwarder({ callUpstream, streams, now, metrics, routes: targets, basePath }),
    limit: createRateLimits({ ...deps, getUserKey }),
    limitBody,
    requireAllowedHost: createHostCheck(publicOrigin, config.allowedHosts),
    ...createCsrfProtection(publicOrigin, corsOrigins),
    ...createSecurityHeaders(config),
    texts: inSequence(
      languageTexts,
      createVisitorLocals({ getSessionId, flash, scopeLabels: config.pages.scopeLabels }),
    ),
    flash,
    ...{ measureRequests, measureAs, measureFrontEnd, english },
  };
}
