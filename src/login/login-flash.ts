import type { Response } from 'express';
import type { LoginGrant } from '../oauth/userinfo.ts';
import type { FlashCookie, FlashMessage } from '../session/flash.ts';
import type { PageUserTags } from '../session/page-user-tag.ts';
import type { TokenRecord } from '../tokens/token-store.ts';
import { isSameUser } from './login-parameters.ts';
import type { LoginTransaction, LoginTransactions } from './login-transaction.ts';

interface LoginFlashParts {
  readonly flash: Pick<FlashCookie, 'set'>;
  readonly pageUserTags: Pick<PageUserTags, 'tagFor'>;
  readonly transactions: Pick<LoginTransactions, 'noteSignIn'>;
}

interface SuccessfulLogin {
  readonly sessionId: string;
  readonly grant: Pick<LoginGrant, 'user' | 'tokens'>;
  readonly transaction: LoginTransaction;
  /** The session before. */
  readonly old: TokenRecord | undefined;
}

/** `noteLogin(res, login)` leaves in the browser that a login has succeeded, for the next login and for the next page. */
export function createLoginNote({ flash, pageUserTags, transactions }: LoginFlashParts) {
  return function noteLogin(res: Response, { sessionId, grant, transaction, old }: SuccessfulLogin): void {
    transactions.noteSignIn(res, transaction);
    const { user, tokens } = grant;
    const before = isSameUser(old, user) ? old : undefined;
    const messages = before && describePermissions(transaction.scope, before.tokens.scope, tokens.scope);
    flash.set(res, {
      messages: messages && messages.length > 0 ? messages : [{ key: 'signed_in' }],
      userTag: pageUserTags.tagFor(sessionId, { user }),
    });
  };
}

/** Not permissions that a user would know: providers use them for the protocol, and need not return them. */
const protocolScopes = new Set(['openid', 'offline_access']);

/** What a login that requested more than the user had granted has changed. */
function describePermissions(
  requested: readonly string[],
  before: readonly string[],
  after: readonly string[],
): readonly FlashMessage[] {
  const added = requested.filter((each) => !before.includes(each) && !protocolScopes.has(each));
  const granted = added.filter((each) => after.includes(each));
  const declined = added.filter((each) => !after.includes(each));
  return [
    ...(granted.length > 0 ? [{ key: 'granted', scopes: granted } as const] : []),
    ...(declined.length > 0 ? [{ key: 'declined', scopes: declined } as const] : []),
  ];
}
