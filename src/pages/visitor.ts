import type { Request, RequestHandler } from 'express';
import { findScopeLabel, type ScopeLabels } from '../config/pages/scope-labels.ts';
import { isPrefetch } from '../middleware/fetch-metadata.ts';
import type { FlashCookie, FlashMessage } from '../session/flash.ts';
import type { Device } from './device-name.ts';

interface VisitorParts {
  readonly scopeLabels: ScopeLabels;
  readonly getSessionId: (req: Request) => string | undefined;
  readonly flash: FlashCookie;
}

/**
 * Middleware that sets what views need to know of the browser:
 *
 * - `isAnonymous`: true if it has no session cookie, so that nobody is signed in. Pages that have looked for the session know
 *   more.
 * - `takeFlash(pageUserTag)`: the messages for this page, which no other page will show.
 * - `nameScope(scope)`: the permission in words, or the name of the scope. Needs the texts of the language.
 * - `nameDevice(device)`: a browser and its system in words. Needs the texts of the language.
 */
export function createVisitorLocals({ getSessionId, flash, scopeLabels }: VisitorParts): RequestHandler {
  return function setVisitorLocals(req, res, next) {
    let taken: readonly FlashMessage[] | undefined;
    res.locals.isAnonymous = getSessionId(req) === undefined;
    res.locals.nameScope = (scope: string): string => {
      const { lang, has, t } = res.locals;
      return (
        findScopeLabel(scopeLabels, scope, lang) ?? (has(`scopes.${scope}`) ? t(`scopes.${scope}`) : scope)
      );
    };
    res.locals.nameDevice = ({ browser, os }: Device): string => {
      const { t } = res.locals;
      const name = browser ?? t('sessions.unknown_browser');
      return os ? t('sessions.on', { browser: name, os }) : name;
    };
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
