import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type ErrorRequestHandler, type Request, type Response, raw } from 'express';
import { AppError } from '../errors.ts';
import type { KeptForms } from '../tokens/kept-forms.ts';
import { isSafe } from './methods.ts';
import { isNavigation } from './navigation.ts';
import type { Sessions } from './session.ts';

declare global {
  namespace Express {
    interface Request {
      /** The whole body, where it was read already or is that of a form that was kept; to be sent on as it is. */
      keptBody?: Buffer;
      /** The path at which what this request brought waits until it can be sent. */
      resumeAt?: string;
    }
  }
}

const types = ['application/x-www-form-urlencoded', 'application/json'];
/** The largest form that is kept, or held until it has arrived. */
export const largestFormBytes = 256 * 1024;
const longestReadMs = 10_000;
const longestUrl = 2_048;

const readRaw = raw({ type: types, limit: largestFormBytes, inflate: false });

interface KeepFormParts {
  readonly keptForms: KeptForms;
  readonly sessions: Pick<Sessions, 'idOf' | 'ids'>;
  readonly now: () => number;
}

/** True for a request that brings what a person has entered, from a page of theirs. */
export function bringsAForm(req: Request): boolean {
  return !isSafe(req.method) && isNavigation(req);
}

/**
 * Stands behind the routes whose forms it keeps: a form that fails with `login_required` waits, for the person whose
 * session this was, at `req.resumeAt`. The failure passes on, whatever became of the form.
 */
export function createKeepForm({ keptForms, sessions, now }: KeepFormParts): ErrorRequestHandler {
  return async function keepForm(error: unknown, req, res, next) {
    const sessionId = sessions.idOf(req);
    const isOver = error instanceof AppError && error.code === 'login_required';
    if (isOver && sessionId !== undefined && sessions.ids.hasOwner(sessionId) && mayBeKept(req)) {
      const body = req.keptBody ?? (await readBody(req, res));
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
          await keptForms.put(id, form);
          req.resumeAt = `/resume/${id}`;
        } catch (failure) {
          req.log.warn({ err: failure }, 'a form could not be kept; its browser still has it');
        }
      }
    }
    next(error);
  };
}

function mayBeKept(req: Request): boolean {
  if (!bringsAForm(req) || !req.is(types)) return false;
  const length = Number(req.headers['content-length'] ?? 0);
  return (
    length <= largestFormBytes && req.originalUrl.length <= longestUrl && req.originalUrl.startsWith('/')
  );
}

/** The whole body, when it is not too large and here in time. */
async function readBody(req: Request, res: Response): Promise<Buffer | undefined> {
  const arrived = new AbortController();
  const body = new Promise<Buffer | undefined>((resolve) => {
    readRaw(req, res, (failure?: unknown) => {
      resolve(failure === undefined && Buffer.isBuffer(req.body) ? req.body : undefined);
    });
  });
  const late = delay(longestReadMs, undefined, { signal: arrived.signal }).catch(() => undefined);
  const read = await Promise.race([body, late]);
  arrived.abort();
  if (!req.complete) res.set('Connection', 'close'); // the rest of it is not waited for
  return read;
}
