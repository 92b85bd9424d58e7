import type { Request, Response } from 'express';
import type { Audit } from '../audit/audit-log.ts';
import type { ConsumedStates } from '../login/consumed-states.ts';
import type { LoginTransactions } from '../login/login-transaction.ts';
import type { Sessions } from '../session/session.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { TokenRecord } from '../tokens/token-store.ts';

export interface SignOutParts {
  readonly transactions: Pick<LoginTransactions, 'getBinding' | 'noteSignOut'>;
  readonly consumedStates: Pick<ConsumedStates, 'cancel'>;
  readonly tokens: Pick<TokenManager, 'end'>;
  readonly sessions: Pick<Sessions, 'getSessionId' | 'end'>;
  readonly now: () => number;
  readonly audit: Audit;
}

/** Ends the session of a request, its logins in progress and its cookie. Needs `sessions.load`. */
export type SignOut = (req: Request, res: Response) => Promise<TokenRecord | undefined>;

/** The function returns the last record of the session; `undefined` when no user was signed in. */
export function createSignOut(parts: SignOutParts): SignOut {
  const { transactions, consumedStates, tokens, sessions, now, audit } = parts;

  return async function signOut(req, res) {
    const id = sessions.getSessionId(req);
    // Before the session ends: a login in progress checks this after it has replaced the session.
    const binding = transactions.getBinding(req);
    if (binding !== undefined) await consumedStates.cancel(binding, now());
    const ended = id === undefined ? undefined : await tokens.end(id);
    if (ended) audit.record('signed_out', { sessionId: id, sub: ended.user.sub });
    await sessions.end(req, res);
    transactions.noteSignOut(req, res);
    return ended;
  };
}
