import type { IncomingMessage } from 'node:http';
import type { Request } from 'express';
import { AppError } from '../errors.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import { claimsOf } from '../tokens/token-store.ts';
import type { SignedInUser } from './api.ts';

interface CurrentUserParts {
  readonly tokens: Pick<TokenManager, 'current' | 'peek'>;
  readonly getSessionId: (req: Request) => string | undefined;
}

/** `latchkey.user(req)`. It counts as a use of the session, so that it does not end while its user reads your pages. */
export function createCurrentUser({ tokens, getSessionId }: CurrentUserParts) {
  /** Who the user is does not depend on whether the provider can refresh the token at this moment. */
  async function load(id: string) {
    try {
      return await tokens.current(id);
    } catch (error) {
      if (error instanceof AppError && error.code === 'temporarily_unavailable') return tokens.peek(id);
      throw error;
    }
  }

  return async function user(message: IncomingMessage): Promise<SignedInUser | undefined> {
    const id = getSessionId(message as Request);
    const login = id === undefined ? undefined : await load(id);
    if (!login) return undefined;
    const { user: info, tokens: granted } = login;
    return { sub: info.sub, claims: { ...claimsOf(login) }, scopes: [...granted.scope] };
  };
}
