import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
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
const readTimeoutMs = 10_000;
const maxUrlLength = 2_048;
const maxTypeLength = 200;

const readRaw = raw({ type: savableTypes, limit: maxFormBytes, inflate: false });

interface FormSaverParts {
  readonly savedForms: SavedForms;
  readonly sessions: Pick<Sessions, 'getSessionId' | 'findRecentOwner'>;
  /** Passes an error when too many forms were submitted. */
  readonly limitSaves: RequestHandler;
  readonly now: () => number;
}

/**
 * Error middleware that saves a form whose request failed with `login_required` because its session has expired lately,
 * and sets `req.resumePath`. Only the user of that session can send it. Mount it after the routes that receive the forms.
 * It always passes the error on.
 */
export function createFormSaver({
  savedForms,
  sessions,
  limitSaves,
  now,
}: FormSaverParts): ErrorRequestHandler {
  /** Every check comes before the body is read. */
  async function trySave(req: Request, res: Response): Promise<void> {
    const sessionId = sessions.getSessionId(req);
    if (sessionId === undefined || !canSave(req)) return;
    const owner = await sessions.findRecentOwner(sessionId);
    if (!owner) return;
    await applyLimit(limitSaves, req, res);
    const body = req.bufferedBody ?? (await readBody(req, res));
    if (!body) return;
    const id = randomBytes(32).toString('base64url');
    const { method, originalUrl: url } = req;
    const contentType = req.headers['content-type'] ?? '';
    const { userTag } = owner;
    await savedForms.put(id, { sessionId, userTag, method, url, contentType, body, keptAt: now() });
    req.resumePath = `${paths.savedForms}/${id}`;
  }

  return async function saveForm(error: unknown, req, res, next) {
    if (error instanceof AppError && error.code === 'login_required')
      await trySave(req, res).catch((failure) =>
        req.log.warn(
          { err: failure },
          'failed to save a submitted form; the user can go back to it in the browser',
        ),
      );
    next(error);
  };
}

/** @throws what `limit` passes on; without its headers, which would not be about this response */
function applyLimit(limit: RequestHandler, req: Request, res: Response): Promise<void> {
  return new Promise((resolve, reject) => {
    const names = res.getHeaderNames();
    limit(req, res, (error?: unknown) => {
      for (const name of res.getHeaderNames()) if (!names.includes(name)) res.removeHeader(name);
      if (error === undefined) resolve();
      else reject(error);
    });
  });
}

function canSave(req: Request): boolean {
  if (!isFormSubmission(req) || !req.is(savableTypes)) return false;
  const length = Number(req.headers['content-length'] ?? 0);
  return (
    length <= maxFormBytes &&
    (req.headers['content-type'] ?? '').length <= maxTypeLength &&
    req.originalUrl.length <= maxUrlLength &&
    req.originalUrl.startsWith('/')
  );
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
