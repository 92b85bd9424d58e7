import type { Request, RequestHandler, Response } from 'express';
import type { Config } from '../config/load.ts';
import { inSequence } from '../in-sequence.ts';
import type { Logger } from '../logger.ts';
import type { SignInRedirect } from '../login/sign-in-redirect.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { isNavigation } from '../middleware/fetch-metadata.ts';
import type { CallUpstream } from '../proxy/call-upstream.ts';
import type { OpenStreams } from '../proxy/open-streams.ts';
import type { Sessions } from '../session/session.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import { createAppForwarder } from './forward-to-app.ts';
import { createOwnPathTest } from './own-paths.ts';
import { buildPolicy } from './policy.ts';
import { createSignInGuard } from './require-sign-in.ts';
import { createStaticFiles } from './static-files.ts';

interface FrontEndParts {
  readonly config: Pick<
    Config,
    'frontEnd' | 'publicOrigin' | 'publicUrl' | 'basePath' | 'production' | 'hsts'
  >;
  readonly tokens: Pick<TokenManager, 'current' | 'peek'>;
  readonly sessions: Pick<Sessions, 'getSessionId'>;
  readonly redirectToSignIn: SignInRedirect['redirectToSignIn'];
  readonly requireSameOrigin: RequestHandler;
  readonly requireSameOriginForUnsafeMethods: RequestHandler;
  readonly callUpstream: CallUpstream;
  readonly streams: OpenStreams;
  readonly measureFrontEnd: RequestHandler;
  readonly metrics: Metrics;
  readonly log: Logger;
  /** The pages of a fork, which are not the front end's. */
  readonly pages: readonly { readonly path: string }[];
}

/** The operator's front end, at every path that is not Latchkey's; nothing at all if none is configured. */
export function createFrontEnd(parts: FrontEndParts): RequestHandler {
  const { frontEnd, publicOrigin, publicUrl, basePath, production, hsts } = parts.config;
  if (!frontEnd) return (_req, _res, next) => next();
  const isOwnPath = createOwnPathTest(parts.pages);
  const { source, requiresLogin, policy: configured } = frontEnd;
  const isApp = 'url' in source;
  const policy = buildPolicy({ configured, isDevelopment: isApp && !production, isHttps: hsts.isSent });
  const shared = { publicOrigin, publicUrl, basePath, isPrivate: requiresLogin };
  const serve = isApp
    ? createAppForwarder({
        ...parts,
        ...shared,
        app: source.url,
        policy: { text: policy, isConfigured: configured !== undefined },
        namesAddress: !production,
      })
    : createStaticFiles({ ...shared, folder: source.folder, servesSourceMaps: !production });
  const signIn = {
    ...parts,
    publicUrl,
    getSessionId: parts.sessions.getSessionId,
  };
  const handle = inSequence(
    parts.measureFrontEnd,
    createHeaders(isApp ? undefined : policy),
    createOriginCheck(parts),
    ...(requiresLogin ? [createSignInGuard(signIn)] : []),
    serve,
  );

  return function handleFrontEnd(req, res, next) {
    if (req.isOutsideBasePath || isOwnPath(req.path)) next();
    else handle(req, res, next);
  };
}

/** The headers of Latchkey that files of the front end have. An app sets its own. */
function createHeaders(policy: string | undefined): RequestHandler {
  return function setHeaders(req: Request, res: Response, next) {
    req.isQuiet = !isNavigation(req);
    if (policy !== undefined) res.setHeader('Content-Security-Policy', policy);
    else if (res.defaultHeaders) res.defaultHeaders = withoutPolicy(res.defaultHeaders);
    next();
  };
}

function withoutPolicy(headers: readonly string[]): readonly string[] {
  const index = headers.indexOf('Content-Security-Policy');
  return index < 0 ? headers : headers.filter((_, each) => each !== index && each !== index + 1);
}

/** Another site may link to the front end, but not send its forms, and not open its WebSockets. */
function createOriginCheck(parts: FrontEndParts): RequestHandler {
  return function checkOrigin(req, res, next) {
    if (req.webSocketHandshake) parts.requireSameOrigin(req, res, next);
    else parts.requireSameOriginForUnsafeMethods(req, res, next);
  };
}
