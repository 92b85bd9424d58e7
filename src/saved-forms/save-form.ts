import { randomBytes } from 'node:crypto';
import { type ErrorRequestHandler, type Request, type RequestHandler, type Response, raw } from 'express';
import { AppError } from '../errors.ts';
import { isFormSubmission } from '../middleware/fetch-metadata.ts';
import { paths } from '../paths.ts';
import type { Sessions } from '../session/session.ts';
import type { SavedForms } from './saved-forms.ts';

declare global {
  namespace Express {
    interface Request {
      /** The path of the page with the saved form of this request; absent if none was saved. */
      resumePath?: string;
    }
  }
}

const savableTypes = ['application/x-www-form-urlencoded', 'application/json'];
/** The largest form that is saved, or buffered so that it can be sent again. */
export const maxFormBytes = 256 * 1024;
const maxUrlLength = 2_048;

interface FormSaverParts {
  readonly savedForms: SavedForms;
  readonly sessions: Pick<Sessions, 'getSessionId' | 'ids'>;
  /** Limits the time and number of the bodies that a parser reads. */
  readonly limitBody: (parse: RequestHandler) => RequestHandler;
  readonly now: () => number;
}

/**
 * Error middleware that saves a form whose request failed with `login_required`, and sets `req.resumePath`. Only the user
 * of the ended session can send it. Mount it after the routes that receive the forms. It always passes the error on.
 */
export function createFormSaver(parts: FormSaverParts): ErrorRequestHandler {
  const { savedForms, sessions, limitBody, now } = parts;
  const readRaw = limitBody(raw({ type: savableTypes, limit: maxFormBytes, inflate: false }));

  return async function saveForm(error: unknown, req, res, next) {
    const sessionId = sessions.getSessionId(req);
    const isLoginRequired = error instanceof AppError && error.code === 'login_required';
    if (isLoginRequired && sessionId !== undefined && sessions.ids.hasOwner(sessionId) && canSave(req)) {
      const body = req.bufferedBody ?? (await readBody(readRaw, req, res));
      if (body) {
        const id = randomBytes(32).toString('base64url');
        const contentType = req.headers['content-type'] ?? '';
        const form = {
          sessionId,
          method: req.method,
          url: req.originalUrl,
          contentType,
          body,
          keptAt: now(),
        };
        try {
          await savedForms.put(id, form);
          req.resumePath = `${paths.savedForms}/${id}`;
        } catch (failure) {
          req.log.warn(
            { err: failure },
            'failed to save a submitted form; the user can go back to it in the browser',
          );
        }
      }
    }
    next(error);
  };
}

function canSave(req: Request): boolean {
  if (!isFormSubmission(req) || !req.is(savableTypes)) return false;
  const length = Number(req.headers['content-length'] ?? 0);
  return length <= maxFormBytes && req.originalUrl.length <= maxUrlLength && req.originalUrl.startsWith('/');
}

/** The whole body; `undefined` if it is larger than `maxFormBytes`, late, or one of too many at once. */
function readBody(read: RequestHandler, req: Request, res: Response): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    function finish(failure?: unknown): void {
      if (!req.complete) res.set('Connection', 'close'); // the rest is not read
      resolve(failure === undefined && Buffer.isBuffer(req.body) ? req.body : undefined);
    }
    Promise.resolve(read(req, res, finish)).catch(finish);
  });
}
