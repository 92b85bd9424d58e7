import { createHmac } from 'node:crypto';
import type { Request, RequestHandler } from 'express';
import { deriveKeys, type KeySource } from '../crypto/sealing.ts';
import { AppError } from '../errors.ts';
import type { TokenRecord } from '../tokens/token-store.ts';

const headerName = 'latchkey-session';
const tagBytes = 12;

/**
 * Page-user tags: a short HMAC of the user, the same in every session of one user and different for every other user.
 * Pages send it with their requests, so that a tab opened by one user cannot act for the next user who signs in.
 */
export interface PageUserTags {
  /** The tag of the user of session `id`, base64url. For a user without `sub` it is different in every session. */
  tagFor(id: string, login: Pick<TokenRecord, 'user'>): string;
  /** The tag of each secret, that of `tagFor` first. */
  tagsFor(id: string, login: Pick<TokenRecord, 'user'>): readonly string[];
  /**
   * Accepts requests without a tag, and requests with the tag of the user who is signed in.
   * @throws AppError `session_changed`: another user is signed in; `login_required`: nobody is
   */
  check(req: Request, id: string | undefined, login: Pick<TokenRecord, 'user'> | undefined): void;
}

/** The first of several secrets creates tags; `check` accepts the tags of all. */
export function createPageUserTags(source: KeySource): PageUserTags {
  const keys = deriveKeys(source, 'session_mark');
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
    tagsFor,

    check(req, id, login) {
      const tag = req.headers[headerName];
      if (tag === undefined) return;
      if (id === undefined || !login) throw new AppError('login_required');
      if (typeof tag !== 'string' || !tagsFor(id, login).includes(tag)) throw new AppError('session_changed');
    },
  };
}

/** Copies the tag from the query parameter `session` to the header, because forms cannot set headers. */
export const readTagFromQuery: RequestHandler = function readTagFromQuery(req, _res, next) {
  const { session } = req.query;
  if (typeof session === 'string') req.headers[headerName] = session;
  next();
};
