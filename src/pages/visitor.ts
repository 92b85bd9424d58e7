import type { Request, RequestHandler } from 'express';
import { isPrefetch } from '../middleware/fetch-metadata.ts';
import type { FlashCookie, FlashMessage } from '../session/flash.ts';

interface VisitorParts {
  readonly getSessionId: (req: Request) => string | undefined;
  readonly flash: FlashCookie;
}

/**
 * Middleware that sets what views need to know of the browser:
 *
 * - `isAnonymous`: true if it has no session cookie, so that nobody is signed in. Pages that have looked for the session know
 *   more.
 * - `takeFlash(pageUserTag)`: the messages for this page, which no other page will show.
 */
export function createVisitorLocals({ getSessionId, flash }: VisitorParts): RequestHandler {
  return function setVisitorLocals(req, res, next) {
    let taken: readonly FlashMessage[] | undefined;
    res.locals.isAnonymous = getSessionId(req) === undefined;
    res.locals.takeFlash = (pageUserTag?: string): readonly FlashMessage[] => {
      if (taken) return taken; // a view that fails is rendered again
      const found = isPrefetch(req) ? undefined : flash.read(req);
      if (!found || found.userTag !== pageUserTag) return [];
      flash.clear(res);
      taken = found.messages;
      return taken;
    };
    next();
  };
}
