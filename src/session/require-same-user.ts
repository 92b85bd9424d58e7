import type { Request, RequestHandler } from 'express';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { PageUserTags } from './page-user-tag.ts';

interface SameUserParts {
  readonly tokens: Pick<TokenManager, 'peek'>;
  readonly pageUserTags: Pick<PageUserTags, 'check'>;
  readonly sessions: { readonly getSessionId: (req: Request) => string | undefined };
}

/**
 * Middleware that rejects a page rendered for one user from acting on the session of another, who signed in later. It lets
 * requests without a user pass.
 * @throws AppError `session_changed`
 */
export function createSameUserGuard({ tokens, pageUserTags, sessions }: SameUserParts): RequestHandler {
  return async function requireSameUser(req, _res, next) {
    const id = sessions.getSessionId(req);
    const login = id === undefined ? undefined : await tokens.peek(id);
    if (login) pageUserTags.check(req, id, login);
    next();
  };
}
