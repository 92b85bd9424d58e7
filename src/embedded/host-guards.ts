import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Request, RequestHandler, Response } from 'express';
import type { App } from '../app.ts';
import { AppError } from '../errors.ts';
import { inSequence } from '../in-sequence.ts';
import { requireDataDestination } from '../middleware/data-destination.ts';
import { isNavigation } from '../middleware/fetch-metadata.ts';
import { isSafe } from '../middleware/http-methods.ts';
import { requireScope } from '../session/require-scope.ts';
import type { ErrorHandler, ForwardToOptions, Handler, Latchkey } from './api.ts';
import { bodyWasRead, enterFromHost, wasBodyRead } from './host-request.ts';
import { readTarget, requireParameters } from './host-target.ts';

type HostGuards = Pick<
  Latchkey,
  'requireLogin' | 'requireToken' | 'requireScope' | 'requireClaim' | 'forwardTo' | 'handleErrors'
>;

interface HostGuardParts {
  readonly app: App;
  /** True for what `user` and `fetch` of this instance have thrown. */
  readonly isOwnError: (error: unknown) => error is AppError;
  /** Learns from a request which proxies its app trusts. */
  readonly learnTrust: (req: Request) => void;
}

/**
 * The middleware for routes of the app around Latchkey. It leaves the properties of their requests alone, which other
 * middleware may use under the same names, and responds to its own failures as the router does.
 */
export function createHostGuards({ app, isOwnError, learnTrust }: HostGuardParts) {
  const { parts, handler, handleError } = app;
  const { log, config } = parts;
  /** What the guards have loaded for a request: an object that inherits from it. */
  const views = new WeakMap<object, Request>();
  /** The views of requests that `requireLogin` let pass. */
  const pages = new WeakSet<object>();

  function viewOf(req: Request): Request {
    const known = views.get(req);
    if (known) return known;
    const none = { value: undefined, writable: true };
    const view: Request = Object.create(req, { login: none, tokenSource: none, webSocketHandshake: none });
    views.set(req, view);
    return view;
  }

  /** Latchkey responds to this request, in the name of what the guards have loaded. */
  function adopt(req: Request, res: Response): void {
    const { login, tokenSource } = viewOf(req);
    learnTrust(req);
    enterFromHost(req, res);
    Object.setPrototypeOf(req, handler.request);
    Object.setPrototypeOf(res, handler.response);
    const id = randomUUID();
    Object.defineProperty(req, 'log', { value: log.child({ reqId: id }), configurable: true });
    Object.assign(req, { id, login, tokenSource, res, pageUrl: req.originalUrl });
    Object.assign(res, { req });
  }

  function respondToError(error: unknown, req: Request, res: Response): void {
    // The app has responded meanwhile, for example because of a time-out of its own.
    if (res.headersSent) {
      log.warn({ err: error }, 'a guard has failed after the app had begun to respond');
      if (!res.writableEnded) res.destroy();
      return;
    }
    adopt(req, res);
    handleError(error, req, res);
  }

  /** `guard` as middleware of the app around Latchkey. */
  function guardWith(guard: RequestHandler): Handler {
    const named = function latchkeyGuard(
      message: IncomingMessage,
      response: ServerResponse,
      next: (error?: unknown) => void,
    ): void {
      const [req, res] = [message as Request, response as Response];
      if (res.headersSent) return;
      forbidCaching(res);
      const done = (error?: unknown) => (error === undefined ? next() : respondToError(error, req, res));
      inSequence(guard)(viewOf(req), res, done);
    };
    return named;
  }

  const requireToken = inSequence(parts.requireSameOriginForUnsafeMethods, parts.requireToken);

  const requireLogin: RequestHandler = function requireLogin(view, res, next) {
    requireToken(view, res, (error?: unknown) => {
      if (error === undefined) pages.add(view);
      const isAnonymous = error instanceof AppError && error.code === 'login_required';
      if (!isAnonymous || !isSafe(view.method)) return next(error);
      parts.redirectToSignIn(view, res, view.originalUrl ?? view.url).catch(next);
    });
  };

  /** A page is also reached by links of other sites, and from the provider after the login. */
  const requireSameOriginUnlessPage: RequestHandler = function requireSameOriginUnlessPage(req, res, next) {
    if (pages.has(viewOf(req)) && isNavigation(req) && isSafe(req.method)) next();
    else parts.requireSameOrigin(req, res, next);
  };

  function forwardTo(options: string | ForwardToOptions): Handler {
    const server = readTarget(options, config);
    const forward = inSequence(
      parts.apiHeaders,
      requireParameters(server.targetPath),
      requireDataDestination,
      requireSameOriginUnlessPage,
      parts.forwardTo(server),
    );
    return function latchkeyForward(message, response) {
      const [req, res] = [message as Request, response as Response];
      adopt(req, res);
      if (wasBodyRead(req)) handleError(bodyWasRead(), req, res);
      else forward(req, res, (error?: unknown) => handleError(error, req, res));
    };
  }

  const handleErrors: ErrorHandler = (error, message, response, next) => {
    if (isOwnError(error)) respondToError(error, message as Request, response as Response);
    else next(error);
  };

  const guards: HostGuards = {
    requireLogin: guardWith(requireLogin),
    requireToken: guardWith(requireToken),
    requireScope: (...scopes) => guardWith(requireScope(...scopes)),
    requireClaim: (name, condition) => guardWith(parts.requireClaim(name, condition)),
    forwardTo,
    handleErrors,
  };
  return { guards, respondToError };
}

/** For a response that depends on who is signed in. A handler of the app can set other headers. */
function forbidCaching(res: ServerResponse): void {
  if (!res.hasHeader('Cache-Control')) res.setHeader('Cache-Control', 'private, no-store');
  const vary = String(res.getHeader('Vary') ?? '');
  if (!/(^|,)\s*(cookie|\*)\s*(,|$)/i.test(vary))
    res.setHeader('Vary', vary === '' ? 'Cookie' : `${vary}, Cookie`);
}
