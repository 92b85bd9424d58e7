import type { Request, Response } from 'express';
import { AppError } from '../errors.ts';
import { isNavigation, isPrefetch } from '../middleware/fetch-metadata.ts';
import { paths } from '../paths.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { EndedBy } from '../tokens/token-store.ts';
import type { LoginTransactions } from './login-transaction.ts';

/** What the sign-in page has to say: the part of a key under `ended` in `views/texts/`. */
export type SignInNotice = EndedBy | 'signed_out' | 'not_kept';

interface SignInRedirectParts {
  readonly tokens: Pick<TokenManager, 'endedBy'>;
  readonly getSessionId: (req: Request) => string | undefined;
  readonly transactions: Pick<LoginTransactions, 'getLastEvent'>;
  /** The public origin and the base path. */
  readonly publicUrl: string;
}

/** Where visitors who are not signed in go from a page that needs a user. */
export interface SignInRedirect {
  /** Why a login must not begin without a click; `undefined` if there is no reason, or the store is unavailable. */
  findSignInNotice(req: Request): Promise<SignInNotice | undefined>;
  /**
   * Sends the browser to the provider, and after the login to `returnTo` (303), or to the sign-in page if that has
   * something to say. `res` may be one of an app around Latchkey.
   * @throws AppError `login_required`: no navigation of a user, who could sign in
   */
  redirectToSignIn(req: Request, res: Response, returnTo: string): Promise<void>;
}

/** A link on another site is confirmed by `/auth/login` itself (`LOGIN_CONFIRM`). */
export function createSignInRedirect(parts: SignInRedirectParts): SignInRedirect {
  const { tokens, getSessionId, transactions, publicUrl } = parts;

  async function findSignInNotice(req: Request): Promise<SignInNotice | undefined> {
    const id = getSessionId(req);
    const endedBy = id === undefined ? undefined : await tokens.endedBy(id).catch(() => undefined);
    if (endedBy) return endedBy;
    const event = transactions.getLastEvent(req);
    return event === 'signed_in_just_now' ? 'not_kept' : event;
  }

  return {
    findSignInNotice,

    async redirectToSignIn(req, res, returnTo) {
      if (!isNavigation(req) || isPrefetch(req)) throw new AppError('login_required');
      const page = (await findSignInNotice(req)) ? paths.signIn : paths.login;
      if (res.headersSent) return;
      const query = new URLSearchParams({ return_to: returnTo });
      res.writeHead(303, { Location: `${publicUrl}${page}?${query}`, 'Cache-Control': 'no-store' }).end();
    },
  };
}
