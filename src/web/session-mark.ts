import { createHmac } from 'node:crypto';
import type { Request, RequestHandler } from 'express';
import { AppError } from '../errors.ts';
import { deriveKey } from '../sealing.ts';
import type { Secret } from '../secret.ts';
import type { TokenRecord } from '../tokens/token-store.ts';

const header = 'latchkey-session';
const markBytes = 12;

/**
 * Tells whose page a request comes from: a short mark, the same in every session of one person and another for everybody
 * else, which pages carry and send along. So a tab that was opened as one person cannot act as the next one to sign in.
 */
export interface SessionMarks {
  /** The mark of who is logged in under the session `id`. */
  of(id: string, login: Pick<TokenRecord, 'user'>): string;
  /**
   * Settles the matter for a request that carries a mark; one without is nobody's page.
   * @throws AppError `session_changed`: somebody else is signed in by now; `login_required`: nobody is
   */
  check(req: Request, id: string | undefined, login: Pick<TokenRecord, 'user'> | undefined): void;
}

/** @param secrets the first marks, all recognise */
export function createSessionMarks(secrets: readonly Secret[]): SessionMarks {
  const keys = secrets.map((secret) => deriveKey(secret, 'session_mark'));
  const marksOf = (id: string, { user }: Pick<TokenRecord, 'user'>) =>
    keys.map((key) =>
      createHmac('sha256', key)
        .update(user.sub === undefined ? `session ${id}` : `person ${user.sub}`)
        .digest()
        .subarray(0, markBytes)
        .toString('base64url'),
    );

  return {
    of: (id, login) => marksOf(id, login)[0]!,

    check(req, id, login) {
      const mark = req.headers[header];
      if (mark === undefined) return;
      if (id === undefined || !login) throw new AppError('login_required');
      if (typeof mark !== 'string' || !marksOf(id, login).includes(mark))
        throw new AppError('session_changed');
    },
  };
}

/** Forms carry the mark in their address (`?session=`), as they can set no header. */
export const takeMarkFromAddress: RequestHandler = function takeMarkFromAddress(req, _res, next) {
  const { session } = req.query;
  if (typeof session === 'string') req.headers[header] = session;
  next();
};
