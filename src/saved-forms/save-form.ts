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
      /** The path at which what this request brought waits until it can be sent. */
      resumePath?: string;
    }
  }
}

const types = ['application/x-www-form-urlencoded', 'application/json'];
/** The largest form that is kept, or held until it has arrived. */
export const maxFormBytes = 256 * 1024;
const readTimeoutMs = 10_000;
const maxUrlLength = 2_048;

const readRaw = raw({ type: types, limit: maxFormBytes, inflate: false });

interface FormSaverParts {
  readonly savedForms: SavedForms;
  readonly sessions: Pick<Sessions, 'getSessionId' | 'ids'>;
  readonly now: () => number;
}

/**
 * Stands behind the routes whose forms it keeps: a form that fails with `login_required` waits, for the person whose
 * session this was, at `req.resumePath`. The failure passes on, whatever became of the form.
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
          req.log.warn({ err: failure }, 'a form could not be kept; its browser still has it');
        }
      }
    }
    next(error);
  };
}

function canSave(req: Request): boolean {
  if (!isFormSubmission(req) || !req.is(types)) return false;
  const length = Number(req.headers['content-length'] ?? 0);
  return length <= maxFormBytes && req.originalUrl.length <= maxUrlLength && req.originalUrl.startsWith('/');
}

/** The whole body, when it is not too large and here in time. */
async function readBody(req: Request, res: Response): Promise<Buffer | undefined> {
  const arrived = new AbortController();
  const body = new Promise<Buffer | undefined>((resolve) => {
    readRaw(req, res, (failure?: unknown) => {
      resolve(failure === undefined && Buffer.isBuffer(req.body) ? req.body : undefined);
    });
  });
  const timeout = delay(readTimeoutMs, undefined, { signal: arrived.signal }).catch(() => undefined);
  const read = await Promise.race([body, timeout]);
  arrived.abort();
  if (!req.complete) res.set('Connection', 'close'); // the rest of it is not waited for
  return read;
}
