import type { ErrorRequestHandler, Request, RequestHandler } from 'express';
import { AppError, type ErrorCode } from '../errors.ts';
import { safeReturnTo, toReturnToParameter } from '../login/return-url.ts';
import { isFormSubmission, isNavigation } from '../middleware/fetch-metadata.ts';
import { OAuthError } from '../oauth/oauth-error.ts';
import { paths } from '../paths.ts';
import type { Translate } from './i18n.ts';

/** Ends every request that no route has handled: `not_found`. */
export const notFound: RequestHandler = function notFound() {
  throw new AppError('not_found');
};

interface ErrorResponseParts {
  readonly publicOrigin: string;
  readonly corsOrigins?: readonly string[];
  /** The texts for JSON. */
  readonly english: Translate;
  /** Sets the headers and texts of a page. A response under /api has had only the headers of data until then. */
  readonly preparePage: RequestHandler;
}

/**
 * Turns every failure into a response: a page for a navigation, else JSON `{ error, message, request_id }`. Both take the
 * message from the texts `error.<code>`. When signing in would help, the JSON has `login_url` and what the login must
 * provide (`scope`, `acr_values`, `max_age`). When the last login requested that already and did not get it, the JSON has
 * `declined: true` instead, so that no script loops.
 */
export function createErrorResponse(parts: ErrorResponseParts): ErrorRequestHandler {
  const { publicOrigin, corsOrigins = [], english, preparePage } = parts;

  return function errorResponse(thrown: unknown, req, res, _next) {
    const error = thrown instanceof AppError ? thrown : fromExpress(thrown);
    if (error.status >= 500) req.log.error({ err: error, code: error.code }, 'request failed');
    else if (error.cause !== undefined) req.log.warn({ err: error, code: error.code }, 'request rejected');
    if (res.headersSent) {
      res.destroy(); // a truncated response must not look complete
      return;
    }

    const loginUrl = loginUrlFor(error, req, publicOrigin, corsOrigins);
    // A provider outage has its own text.
    const isProviderOutage = error.status === 503 && error.cause instanceof OAuthError;
    const textKey = isProviderOutage ? 'provider_unavailable' : error.code;
    res.status(error.status).set('Cache-Control', 'no-store').vary('Cookie');
    if (error.retryAfterSeconds !== undefined) res.set('Retry-After', String(error.retryAfterSeconds));
    if (error.allow) res.set('Allow', error.allow.join(', '));
    if (error.status === 413 || error.status === 408) res.set('Connection', 'close'); // the rest is not read

    if (isNavigation(req)) {
      const locals = {
        code: error.code,
        status: error.status,
        textKey,
        alreadyRequested: error.alreadyRequested,
        loginUrl,
        retryAfterSeconds: error.retryAfterSeconds,
        canRetry: req.method === 'GET',
        isForm: isFormSubmission(req) && isUnderApi(req),
        resumePath: req.resumePath,
        backUrl: safeReturnTo(req.headers.referer, publicOrigin),
        requestId: req.id,
      };
      preparePage(req, res, () => res.render('error', locals));
    } else {
      res.json({
        error: error.code,
        message: english(`error.${textKey}.text`),
        request_id: req.id,
        ...(error.scope && { scope: error.scope.join(' ') }),
        ...(error.acrValues !== undefined && { acr_values: error.acrValues }),
        ...(error.maxAge !== undefined && { max_age: error.maxAge }),
        ...(error.code === 'token_renewed' && { retryable: true }),
        ...(error.alreadyRequested ? { declined: true } : loginUrl && { login_url: loginUrl }),
      });
    }
  };
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

function loginUrlFor(
  error: AppError,
  req: Request,
  publicOrigin: string,
  corsOrigins: readonly string[],
): string | undefined {
  if (!retryableBySignIn.has(error.code)) return undefined;
  const url = new URL(paths.login, publicOrigin);
  // After the login, the browser returns to the page whose script called (Referer), or to the URL of the navigation. Not to
  // a URL under /api: it would arrive there from the provider's site, which is rejected as cross-site.
  const isPage = !isUnderApi(req);
  const returnTo = req.resumePath ?? (isNavigation(req) && isPage ? req.originalUrl : req.headers.referer);
  const safeUrl = safeReturnTo(returnTo, publicOrigin, corsOrigins);
  url.searchParams.set('return_to', toReturnToParameter(safeUrl, publicOrigin));
  if (error.scope) url.searchParams.set('scope', error.scope.join(' '));
  if (error.acrValues !== undefined) url.searchParams.set('acr_values', error.acrValues);
  if (error.maxAge !== undefined) url.searchParams.set('max_age', String(error.maxAge));
  return url.href;
}
