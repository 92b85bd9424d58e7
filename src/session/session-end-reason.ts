import type { ErrorRequestHandler, Request } from 'express';
import { AppError } from '../errors.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { EndedBy } from '../tokens/token-store.ts';

declare global {
  namespace Express {
    interface Request {
      /** Who ended the session of this request from elsewhere. Set by `findSessionEndReason`. */
      endedBy?: EndedBy;
    }
  }
}

/** A reason why a session has ended, as JSON has it: `ended_by_administrator`. */
export const toReasonCode = (by: EndedBy) => `ended_by_${by}` as const;

interface SessionEndReasonParts {
  readonly tokens: Pick<TokenManager, 'endedBy'>;
  readonly getSessionId: (req: Request) => string | undefined;
}

/**
 * The error middleware that sets `req.endedBy` after a `login_required`, so that the response can say why the session has
 * ended. Only the browser that has the cookie of the session learns it.
 */
export function createSessionEndReason({ tokens, getSessionId }: SessionEndReasonParts): ErrorRequestHandler {
  return async function findSessionEndReason(error: unknown, req, _res, next) {
    const id = getSessionId(req);
    if (error instanceof AppError && error.code === 'login_required' && id !== undefined) {
      const endedBy = await tokens.endedBy(id).catch(() => undefined); // the error itself is more important
      if (endedBy) req.endedBy = endedBy;
    }
    next(error);
  };
}
