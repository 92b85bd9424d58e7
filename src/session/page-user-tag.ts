import { createHmac } from 'node:crypto';
import type { Request, RequestHandler } from 'express';
import { deriveKey } from '../crypto/sealing.ts';
import type { Secret } from '../crypto/secret.ts';
import { AppError } from '../errors.ts';
import type { TokenRecord } from '../tokens/token-store.ts';

const header = 'latchkey-session';
const tagBytes = 12;

/**
 * Tells whose page a request comes from: a short tag, the same in every session of one person and another for everybody
 * else, which pages carry and send along. So a tab that was opened as one person cannot act as the next one to sign in.
 */
export interface PageUserTags {
  /** The tag of who is logged in under the session `id`. */
  tagFor(id: string, login: Pick<TokenRecord, 'user'>): string;
  /**
   * Settles the matter for a request that carries a tag; one without is nobody's page.
   * @throws AppError `session_changed`: somebody else is signed in by now; `login_required`: nobody is
   */
  check(req: Request, id: string | undefined, login: Pick<TokenRecord, 'user'> | undefined): void;
}

/** @param secrets the first pageUserTags, all recognise */
export function createPageUserTags(secrets: readonly Secret[]): PageUserTags {
  const keys = secrets.map((secret) => deriveKey(secret, 'session_mark'));
  const tagsFor = (id: string, { user }: Pick<TokenRecord, 'user'>) =>
    keys.map((key) =>
      createHmac('sha256', key)
        .update(user.sub === undefined ? `session ${id}` : `person ${user.sub}`)
        .digest()
        .subarray(0, tagBytes)
        .toString('base64url'),
    );

  return {
    tagFor: (id, login) => tagsFor(id, login)[0]!,

    check(req, id, login) {
      const tag = req.headers[header];
      if (tag === undefined) return;
      if (id === undefined || !login) throw new AppError('login_required');
      if (typeof tag !== 'string' || !tagsFor(id, login).includes(tag)) throw new AppError('session_changed');
    },
  };
}

/** Forms carry the tag in their address (`?session=`), as they can set no header. */
export const readTagFromQuery: RequestHandler = function readTagFromQuery(req, _res, next) {
  const { session } = req.query;
  if (typeof session === 'string') req.headers[header] = session;
  next();
};
