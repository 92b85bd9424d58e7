import type { ErrorRequestHandler, Request, RequestHandler, Response } from 'express';
import type { AuditReason } from '../audit/audit-events.ts';
import type { Audit } from '../audit/audit-log.ts';
import type { Config } from '../config/load.ts';
import { AppError, type ErrorCode } from '../errors.ts';
import { describeError } from '../logger.ts';
import type { LoginParameters } from '../login/login-parameters.ts';
import { safeReturnTo, toReturnToParameter } from '../login/return-url.ts';
import { isFormSubmission, isNavigation } from '../middleware/fetch-metadata.ts';
import { OAuthError } from '../oauth/oauth-error.ts';
import { paths } from '../paths.ts';
import type { FlashCookie } from '../session/flash.ts';
import { toReasonCode } from '../session/visitor-of-error.ts';
import type { Translate } from './i18n.ts';

/** Ends every request that no route has handled: `not_found`. */
export const notFound: RequestHandler = function notFound() {
  throw new AppError('not_found');
};

interface ErrorResponseParts {
  readonly config?: Pick<Config, 'access'>;
  readonly publicUrl: string;
  readonly basePath: string;
  readonly returnOrigins?: readonly string[];
  readonly landingPath?: string;
  readonly loginParameters: Pick<LoginParameters, 'createQuery'>;
  /** The tags of the user whose token the request has; see `PageUserTags`. */
  readonly getUserTags: (req: Request) => readonly string[];
  readonly getSessionId: (req: Request) => string | undefined;
  readonly audit: Audit;
  readonly flash: Pick<FlashCookie, 'set'>;
  /** The texts for JSON. */
  readonly english: Translate;
  /** Sets the headers and texts of a page. A response under /api has had only the headers of data until then. */
  readonly preparePage: RequestHandler;
}

/**
 * Turns every failure into a response: a page for a navigation, else JSON `{ error, message, request_id }`. Both take the
 * message from the texts `error.<code>`. When signing in would help, the JSON has `login_url` and what the login must
 * provide (`scope`, `acr_values`, `max_age`). When the last login requested that already and did not get it, the JSON has
 * `declined: true` and
 * `request_again_url` instead, which is for a click of the user, so that no script loops.
 */
export function createErrorResponse(parts: ErrorResponseParts): ErrorRequestHandler {
  const {
    publicUrl,
    basePath,
    returnOrigins = [],
    landingPath,
    loginParameters,
    getUserTags,
    english,
    preparePage,
  } = parts;
  const { audit, getSessionId, flash } = parts;
  const { supportUrl } = parts.config?.access ?? {};

  function loginUrlFor(error: AppError, req: Request): string | undefined {
    if (!retryableBySignIn.has(error.code)) return undefined;
    // After the login, the browser returns to the page whose script called (Referer), or to the URL of the navigation. Not
    // to a URL under /api: it would arrive there from the provider's site, which is rejected as cross-site.
    const isPage = !isUnderApi(req);
    const pageUrl = req.pageUrl ?? basePath + req.originalUrl;
    const returnTo = req.resumePath ?? (isNavigation(req) && isPage ? pageUrl : req.headers.referer);
    const safeUrl = safeReturnTo(returnTo, publicUrl, returnOrigins, landingPath);
    const { scope = [], acrValues, maxAge } = error;
    const query = loginParameters.createQuery(
      { scope, ...(acrValues !== undefined && { acrValues }), ...(maxAge !== undefined && { maxAge }) },
      getUserTags(req),
    );
    const url = new URL(publicUrl + paths.login);
    url.search = String(
      new URLSearchParams([['return_to', toReturnToParameter(safeUrl, publicUrl)], ...query]),
    );
    return url.href;
  }

  /** The session whose token the request has. */
  function aboutSession(req: Request) {
    return req.login && { sessionId: getSessionId(req), sub: req.login.user.sub };
  }

  /** Where "sign in" leads after a failed login: to the provider, and from there to where this login led. */
  function signInUrlFor({ code, returnTo }: AppError): string {
    if (returnTo === undefined) return basePath + paths.login;
    const query = new URLSearchParams({ return_to: toReturnToParameter(returnTo, publicUrl) });
    // The provider would sign the same user in again, without showing a page.
    if (code === 'login_not_allowed') query.set('prompt', 'login');
    return `${basePath}${paths.login}?${query}`;
  }

  /**
   * After a user has refused a login or a permission at the provider: to the sign-in page, which says so at an address without
   * `state`.
   */
  function redirectAfterRefusal(
    { isSignedIn, scope = [] }: AppError,
    returnTo: string,
    req: Request,
    res: Response,
  ): void {
    const [userTag] = isSignedIn ? getUserTags(req) : [];
    flash.set(res, {
      messages: [userTag ? { key: 'declined', scopes: scope } : { key: 'cancelled' }],
      userTag,
    });
    const query = new URLSearchParams({ return_to: toReturnToParameter(returnTo, publicUrl) });
    res.set('Cache-Control', 'no-store').redirect(303, `${publicUrl}${paths.signIn}?${query}`);
  }

  return function errorResponse(thrown: unknown, req, res, _next) {
    const error = thrown instanceof AppError ? thrown : fromExpress(thrown);
    if (error.status >= 500) req.log.error({ err: error, code: error.code }, 'request failed');
    else if (error.cause !== undefined)
      req.log.warn({ code: error.code, reason: describeReason(error.cause) }, 'request rejected');
    if (isAudited(error.code)) audit.record('request_rejected', { reason: error.code, ...aboutSession(req) });
    if (res.headersSent) {
      if (!res.writableEnded) res.destroy(); // a truncated response must not look complete
      return;
    }

    if (error.code === 'access_denied' && error.returnTo !== undefined && isNavigation(req))
      return redirectAfterRefusal(error, error.returnTo, req, res);
    const loginUrl = loginUrlFor(error, req);
    const textKey = textKeyFor(error, error.isSignedIn || res.locals.user !== undefined);
    res.status(error.status).set('Cache-Control', 'no-store').vary('Cookie');
    res.set('Latchkey-Error', error.code); // a script cannot take the response for one of the API, which never has it
    if (error.retryAfterSeconds !== undefined) res.set('Retry-After', String(error.retryAfterSeconds));
    if (error.allow) res.set('Allow', error.allow.join(', '));
    // Without `Connection: Upgrade`: clients that use Node.js would take the response for a switch of protocols.
    if (error.status === 426) res.set({ Upgrade: 'websocket', Connection: 'close' });
    if (error.status === 413 || error.status === 408) res.set('Connection', 'close'); // the rest is not read

    if (isNavigation(req)) {
      const locals = {
        code: error.code,
        status: error.status,
        textKey,
        alreadyRequested: error.alreadyRequested,
        scopes: error.code === 'insufficient_scope' ? (error.scope ?? []) : [],
        loginUrl,
        signInUrl: signInUrlFor(error),
        cleanUrl: finalLoginErrors.has(error.code)
          ? signInUrlFor(error).replace(paths.login, paths.signIn)
          : undefined,
        continueUrl: error.isSignedIn ? error.returnTo : undefined,
        endedBy: req.endedBy,
        retryAfterSeconds: error.retryAfterSeconds,
        address: error.address,
        canRetry: req.method === 'GET',
        isForm: isFormSubmission(req) && isUnderApi(req),
        resumePath: req.resumePath,
        backUrl: safeReturnTo(req.headers.referer, publicUrl, [], landingPath),
        requestId: req.id,
      };
      preparePage(req, res, () => res.render('error', locals));
    } else {
      res.json({
        error: error.code,
        message: english(`error.${textKey}.text`),
        request_id: req.id,
        ...(req.endedBy && { reason: toReasonCode(req.endedBy) }),
        ...(refusals.has(error.code) && supportUrl !== undefined && { support_url: supportUrl }),
        ...(error.limit !== undefined && { limit: error.limit }),
        ...(error.address !== undefined && { address: error.address }),
        ...(error.scope && { scope: error.scope.join(' ') }),
        ...(error.acrValues !== undefined && { acr_values: error.acrValues }),
        ...(error.maxAge !== undefined && { max_age: error.maxAge }),
        ...(error.code === 'token_renewed' && { retryable: true }),
        ...(error.alreadyRequested
          ? { declined: true, ...(loginUrl && { request_again_url: loginUrl }) }
          : loginUrl && { login_url: loginUrl }),
      });
    }
  };
}

/** A provider outage, a rejected client and a declined step-up have their own texts. */
function textKeyFor({ code, status, cause }: AppError, isSignedIn: boolean): string {
  if (status === 503 && cause instanceof OAuthError)
    return cause.kind === 'client_misconfigured' ? 'provider_rejects_app' : 'provider_unavailable';
  return code === 'access_denied' && isSignedIn ? 'step_up_denied' : code;
}

/** The messages of an error and its causes, without stack traces: the fault is the caller's, and strangers cause it. */
function describeReason(cause: unknown): string {
  const { message, cause: next } = describeError(cause);
  return next ? `${message}: ${next.message}` : message;
}

function isUnderApi({ originalUrl }: Request): boolean {
  return originalUrl.startsWith(`${paths.api}/`);
}

/** Translates an error of Express or its middleware: 4xx is the caller's fault, everything else is ours. */
function fromExpress(thrown: unknown): AppError {
  const status = thrown instanceof Error && 'status' in thrown ? Number(thrown.status) : 500;
  if (status === 404) return new AppError('not_found');
  if (status === 413) return new AppError('payload_too_large');
  if (status >= 400 && status < 500) return new AppError('invalid_request', { cause: thrown });
  return new AppError('internal_error', { cause: thrown });
}

const retryableBySignIn: ReadonlySet<ErrorCode> = new Set([
  'login_required',
  'insufficient_scope',
  'insufficient_user_authentication',
]);

/** The user is who they are, and somebody else has to let them in. */
const refusals: ReadonlySet<ErrorCode> = new Set(['insufficient_claims', 'login_not_allowed']);

/** A login that cannot be completed by reloading the page, so that its address need not keep the parameters of the provider. */
const finalLoginErrors: ReadonlySet<ErrorCode> = new Set([
  'invalid_state',
  'login_failed',
  'login_not_allowed',
]);

/** The refusals that the audit log has. A missing or ended session is none. */
const auditedCodes: ReadonlySet<ErrorCode> = new Set<AuditReason<'request_rejected'>>([
  ...(['cross_site_request', 'forbidden_destination', 'misdirected_request', 'session_changed'] as const),
  ...([
    'insufficient_scope',
    'insufficient_claims',
    'insufficient_user_authentication',
    'too_many_requests',
  ] as const),
]);

function isAudited(code: ErrorCode): code is AuditReason<'request_rejected'> {
  return auditedCodes.has(code);
}
