import type { ErrorRequestHandler, Request, RequestHandler } from 'express';
import { AppError, type ErrorCode, publicErrors } from '../errors.ts';
import { OAuthError } from '../oauth/oauth-error.ts';
import { bringsAForm } from './kept-form.ts';
import { isNavigation } from './navigation.ts';
import { returnToParameter, safeReturnTo } from './return-to.ts';

/**
 * The one place where a failure becomes an answer: a page for a person, else JSON `{ error, message, request_id }`.
 * Where signing in helps, with `login_url` and what it asks for (`scope`, `acr_values`, `max_age`); where it was asked
 * for just now and not given, with `declined: true` instead, so that no script can go round in a circle.
 * @param forPages what a page needs before it is rendered: under /api the headers so far are for data
 */
export function createErrorResponse(
  publicOrigin: string,
  forPages: RequestHandler,
  corsOrigins: readonly string[] = [],
): ErrorRequestHandler {
  return function errorResponse(thrown: unknown, req, res, _next) {
    const error = thrown instanceof AppError ? thrown : fromExpress(thrown);
    if (error.status >= 500) req.log.error({ err: error, code: error.code }, 'a request failed');
    else if (error.cause !== undefined)
      req.log.warn({ err: error, code: error.code }, 'a request was refused');
    if (res.headersSent) {
      res.destroy(); // half an answer must not look like a whole one
      return;
    }

    const message = publicErrors[error.code][1];
    const loginUrl = loginUrlFor(error, req, publicOrigin, corsOrigins);
    res.status(error.status).set('Cache-Control', 'no-store').vary('Cookie');
    if (error.retryAfterSeconds !== undefined) res.set('Retry-After', String(error.retryAfterSeconds));
    if (error.allow) res.set('Allow', error.allow.join(', '));
    if (error.status === 413 || error.status === 408) res.set('Connection', 'close'); // the rest is not read

    if (isNavigation(req)) {
      const shown = {
        ...{ code: error.code, status: error.status, declined: error.declined, loginUrl },
        /** Which of its texts: a provider that does not answer is not we who do not. */
        what: error.status === 503 && error.cause instanceof OAuthError ? 'provider_away' : error.code,
        retryAfterSeconds: error.retryAfterSeconds,
        canRetry: req.method === 'GET',
        isForm: bringsAForm(req) && req.originalUrl.startsWith('/api/'),
        resumeAt: req.resumeAt,
        backUrl: safeReturnTo(req.headers.referer, publicOrigin),
        requestId: req.id,
      };
      forPages(req, res, () => res.render('error', shown));
    } else {
      res.json({
        error: error.code,
        message,
        request_id: req.id,
        ...(error.scope && { scope: error.scope.join(' ') }),
        ...(error.acrValues !== undefined && { acr_values: error.acrValues }),
        ...(error.maxAge !== undefined && { max_age: error.maxAge }),
        ...(error.code === 'token_renewed' && { retryable: true }),
        ...(error.declined ? { declined: true } : loginUrl && { login_url: loginUrl }),
      });
    }
  };
}

/** What Express and its parts throw: a status of 4xx is the caller's, everything else is ours. */
function fromExpress(thrown: unknown): AppError {
  const status = thrown instanceof Error && 'status' in thrown ? Number(thrown.status) : 500;
  if (status === 404) return new AppError('not_found');
  if (status === 413) return new AppError('payload_too_large');
  if (status >= 400 && status < 500) return new AppError('invalid_request', { cause: thrown });
  return new AppError('internal_error', { cause: thrown });
}

const helpedBySigningIn: ReadonlySet<ErrorCode> = new Set([
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
  if (!helpedBySigningIn.has(error.code)) return undefined;
  const url = new URL('/auth/login', publicOrigin);
  // A page that called the API is where its reader wants to be back; a navigation wants what it asked for.
  // Not under /api: browsers would arrive there from the provider's site, which is refused.
  const isPage = !req.originalUrl.startsWith('/api/');
  const wanted = req.resumeAt ?? (isNavigation(req) && isPage ? req.originalUrl : req.headers.referer);
  const back = safeReturnTo(wanted, publicOrigin, corsOrigins);
  url.searchParams.set('return_to', returnToParameter(back, publicOrigin));
  if (error.scope) url.searchParams.set('scope', error.scope.join(' '));
  if (error.acrValues !== undefined) url.searchParams.set('acr_values', error.acrValues);
  if (error.maxAge !== undefined) url.searchParams.set('max_age', String(error.maxAge));
  return url.href;
}
