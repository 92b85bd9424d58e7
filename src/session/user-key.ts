import type { Request } from 'express';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { PageUserTags } from './page-user-tag.ts';

interface UserKeyParts {
  readonly tokens: Pick<TokenManager, 'peek'>;
  readonly pageUserTags: Pick<PageUserTags, 'tagFor'>;
  readonly getSessionId: (req: Request) => string | undefined;
}

/**
 * `getUserKey(req)`: a key for the limits of the user who is signed in, the same in all sessions of one user; `undefined`
 * without a session and when it has ended, because a cookie stays signed for ever.
 * It reads the session once per request, and rejects when the store is unavailable.
 */
export function createUserKeys({ tokens, pageUserTags, getSessionId }: UserKeyParts) {
  const keys = new WeakMap<Request, Promise<string | undefined>>();

  async function readKey(req: Request): Promise<string | undefined> {
    const id = getSessionId(req);
    const login = id === undefined ? undefined : await tokens.peek(id);
    return id === undefined || !login ? undefined : `user:${pageUserTags.tagFor(id, login)}`;
  }

  return function getUserKey(req: Request): Promise<string | undefined> {
    const known = keys.get(req) ?? readKey(req);
    keys.set(req, known);
    return known;
  };
}
