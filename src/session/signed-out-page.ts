import { type Request, type RequestHandler, type Response, Router } from 'express';
import type { Config } from '../config/load.ts';
import { allowOnly } from '../middleware/http-methods.ts';
import { paths } from '../paths.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { FlashCookie } from './flash.ts';

interface SignedOutPageParts {
  readonly config: Pick<Config, 'publicUrl'>;
  readonly tokens: Pick<TokenManager, 'peek'>;
  readonly getSessionId: (req: Request) => string | undefined;
  readonly flash: FlashCookie;
}

/**
 * `GET /auth/signed-out`: where a sign-out ends. If it returns the `state` that this browser took to the provider's end-session
 * endpoint (OIDC RP-Initiated Logout 1.0 3), the user has signed out there, or decided not to.
 */
export function createSignedOutPage({
  config,
  tokens,
  getSessionId,
  flash,
}: SignedOutPageParts): RequestHandler {
  async function renderSignedOut(req: Request, res: Response): Promise<void> {
    const id = getSessionId(req);
    const isSignedIn = id !== undefined && (await tokens.peek(id)) !== undefined; // then the page would be wrong
    if (isSignedIn) return res.redirect(303, `${config.publicUrl}/`);
    const { state } = req.query;
    if (typeof state !== 'string') return res.render('signed-out');
    if (flash.read(req)?.logoutState === state)
      flash.set(res, { messages: [{ key: 'signed_out_confirmed' }], userTag: undefined });
    res.redirect(303, config.publicUrl + paths.signedOut);
  }

  const router = Router({ caseSensitive: true });
  router.route(paths.signedOut).get(renderSignedOut).all(allowOnly('GET', 'HEAD'));
  return router;
}
