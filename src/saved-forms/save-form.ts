import { randomBytes } from 'node:crypto';
import { type ErrorRequestHandler, type Request, type RequestHandler, type Response, raw } from 'express';
import { AppError, type ErrorCode } from '../errors.ts';
import { isFormSubmission } from '../middleware/fetch-metadata.ts';
import { paths } from '../paths.ts';
import type { Sessions } from '../session/session.ts';
import type { SavedForms } from './saved-forms.ts';

declare global {
  namespace Express {
    interface Request {
      /** The path of the page with the saved form of this request; absent if none was saved. */
      resumePath?: string;
      /** False if the route says that its forms are not saved (`saveForms`). */
      isFormSavable?: boolean;
    }
  }
}

/** After these errors the user can send the form once they have signed in, or granted a permission. */
const savedAfter: ReadonlySet<ErrorCode> = new Set([
  'login_required',
  'insufficient_scope',
  'insufficient_user_authentication',
]);
const savableTypes = ['application/x-www-form-urlencoded', 'application/json'];
/** The largest form that is saved, or buffered so that it can be sent again. */
export const maxFormBytes = 256 * 1024;
const maxUrlLength = 2_048;
const maxTypeLength = 200;

interface FormSaverParts {
  readonly basePath: string;
  readonly savedForms: SavedForms;
  readonly sessions: Pick<Sessions, 'getSessionId' | 'findRecentOwner'>;
  /** Passes an error when too many forms were submitted. */
  readonly limitSaves: RequestHandler;
  /** Limits the time and number of the bodies that a parser reads. */
  readonly limitBody: (parse: RequestHandler) => RequestHandler;
  readonly now: () => number;
}

/**
 * Error middleware that saves a form whose request failed because its session has expired lately, or because its login does
 * not suffice for the route, and sets `req.resumePath`. Only the user of that session can send it. Mount it after the routes that receive the forms.
 * It always passes the error on.
 */
export function createFormSaver(parts: FormSaverParts): ErrorRequestHandler {
  const { basePath, savedForms, sessions, limitSaves, limitBody, now } = parts;
  const readRaw = limitBody(raw({ type: savableTypes, limit: maxFormBytes, inflate: false }));

  /** Every check comes before the body is read. */
  async function trySave(req: Request, res: Response): Promise<void> {
    const sessionId = sessions.getSessionId(req);
    if (sessionId === undefined || !canSave(req)) return;
    const owner = await sessions.findRecentOwner(sessionId);
    if (!owner) return;
    await applyLimit(limitSaves, req, res);
    const body = req.bufferedBody ?? (await readBody(readRaw, req, res));
    if (!body) return;
    const id = randomBytes(32).toString('base64url');
    const { method, originalUrl: url } = req;
    const contentType = req.headers['content-type'] ?? '';
    const { userTag } = owner;
    await savedForms.put(id, { sessionId, userTag, method, url, contentType, body, keptAt: now() });
    req.resumePath = `${basePath}${paths.savedForms}/${id}`;
  }

  return async function saveForm(error: unknown, req, res, next) {
    if (error instanceof AppError && savedAfter.has(error.code))
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
  if (req.isFormSavable === false || !isFormSubmission(req) || !req.is(savableTypes)) return false;
  const length = Number(req.headers['content-length'] ?? 0);
  return (
    length <= maxFormBytes &&
    (req.headers['content-type'] ?? '').length <= maxTypeLength &&
    req.originalUrl.length <= maxUrlLength &&
    req.originalUrl.startsWith('/')
  );
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
