import type { Request, RequestHandler } from 'express';

/**
 * Middleware that sets `isAnonymous` for views: true if the browser has no session cookie, so that nobody is signed in. Pages
 * that have looked for the session know more.
 */
export function createVisitorLocals(getSessionId: (req: Request) => string | undefined): RequestHandler {
  return function setVisitorLocals(req, res, next) {
    res.locals.isAnonymous = getSessionId(req) === undefined;
    next();
  };
}
