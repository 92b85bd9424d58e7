import { setTimeout as delay } from 'node:timers/promises';
import type { ErrorRequestHandler, Request, Response } from 'express';
import { AppError, type ErrorCode } from '../errors.ts';
import { isNavigation } from '../middleware/fetch-metadata.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { EndedBy, TokenRecord } from '../tokens/token-store.ts';
import type { DescribePageUser } from './page-user.ts';

declare global {
  namespace Express {
    interface Request {
      /** Who ended the session of this request from elsewhere. Set by `findVisitorOfError`. */
      endedBy?: EndedBy;
    }
  }
}

/** A reason why a session has ended, as JSON has it: `ended_by_administrator`. */
export const toReasonCode = (by: EndedBy) => `ended_by_${by}` as const;

/** Errors whose response must not cost the store anything: it has just failed, or the requests are too many. */
const unread: ReadonlySet<ErrorCode | undefined> = new Set<ErrorCode>([
  'temporarily_unavailable',
  'too_many_requests',
]);
const maxPeekMs = 300;

interface VisitorOfErrorParts {
  readonly tokens: Pick<TokenManager, 'endedBy' | 'peek'>;
  readonly getSessionId: (req: Request) => string | undefined;
  readonly describePageUser: DescribePageUser;
}

/**
 * The error middleware that finds out what the response says about the session: after a `login_required` it sets
 * `req.endedBy`, for other error pages the locals of the user who is signed in. Only the browser that has the cookie of
 * the session learns either.
 */
export function createVisitorOfError(parts: VisitorOfErrorParts): ErrorRequestHandler {
  const { tokens, getSessionId, describePageUser } = parts;

  async function find(code: ErrorCode | undefined, id: string, req: Request, res: Response): Promise<void> {
    if (code === 'login_required') {
      Object.assign(res.locals, { user: undefined, pageUserTag: undefined }); // the page may have had one until then
      const endedBy = await tokens.endedBy(id);
      if (endedBy) req.endedBy = endedBy;
    } else if (isNavigation(req)) {
      const login = req.login ?? (unread.has(code) ? undefined : await peekBriefly(id));
      if (login) Object.assign(res.locals, describePageUser(id, login));
    }
  }

  /** The page matters more than its header. */
  function peekBriefly(id: string): Promise<TokenRecord | undefined> {
    return Promise.race([tokens.peek(id), delay(maxPeekMs, undefined, { ref: false })]);
  }

  return async function findVisitorOfError(error: unknown, req, res, next) {
    const id = getSessionId(req);
    const code = error instanceof AppError ? error.code : undefined;
    // The error itself is more important than a failure here.
    if (id !== undefined && !res.headersSent) await find(code, id, req, res).catch(() => undefined);
    next(error);
  };
}
