import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type ErrorRequestHandler, type Request, type Response, raw } from 'express';
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
const readTimeoutMs = 10_000;
const maxUrlLength = 2_048;

const readRaw = raw({ type: savableTypes, limit: maxFormBytes, inflate: false });

interface FormSaverParts {
  readonly savedForms: SavedForms;
  readonly sessions: Pick<Sessions, 'getSessionId' | 'ids'>;
  readonly now: () => number;
}

/**
 * Error middleware that saves a form whose request failed with `login_required`, and sets `req.resumePath`. Only the user
 * of the ended session can send it. Mount it after the routes that receive the forms. It always passes the error on.
 */
export function createFormSaver({ savedForms, sessions, now }: FormSaverParts): ErrorRequestHandler {
  return async function saveForm(error: unknown, req, res, next) {
    const sessionId = sessions.getSessionId(req);
    const isLoginRequired = error instanceof AppError && error.code === 'login_required';
    if (isLoginRequired && sessionId !== undefined && sessions.ids.hasOwner(sessionId) && canSave(req)) {
      const body = req.bufferedBody ?? (await readBody(req, res));
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

/** The whole body; `undefined` if it is larger than `maxFormBytes` or takes more than ten seconds to arrive. */
async function readBody(req: Request, res: Response): Promise<Buffer | undefined> {
  const timer = new AbortController();
  const body = new Promise<Buffer | undefined>((resolve) => {
    readRaw(req, res, (failure?: unknown) => {
      resolve(failure === undefined && Buffer.isBuffer(req.body) ? req.body : undefined);
    });
  });
  const timeout = delay(readTimeoutMs, undefined, { signal: timer.signal }).catch(() => undefined);
  const received = await Promise.race([body, timeout]);
  timer.abort();
  if (!req.complete) res.set('Connection', 'close'); // the rest is not read
  return received;
}
