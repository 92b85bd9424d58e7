import { type Request, type RequestHandler, type Response, Router } from 'express';
import type { Config } from '../config/load.ts';
import { allowOnly } from '../middleware/http-methods.ts';
import { paths } from '../paths.ts';
import type { FlashCookie } from '../session/flash.ts';
import type { DescribePageUser } from '../session/page-user.ts';
import type { PageUserTags } from '../session/page-user-tag.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import { copyLoginUrl, isStepUp, type LoginParameters } from './login-parameters.ts';
import { safeReturnTo, toReturnToParameter } from './return-url.ts';
import type { SignInRedirect } from './sign-in-redirect.ts';

interface SignInPageParts {
  readonly config: Pick<Config, 'publicUrl' | 'basePath' | 'returnOrigins' | 'landingPath'>;
  readonly tokens: Pick<TokenManager, 'peek'>;
  readonly getSessionId: (req: Request) => string | undefined;
  readonly pageUserTags: Pick<PageUserTags, 'tagsFor'>;
  readonly describePageUser: DescribePageUser;
  readonly loginParameters: Pick<LoginParameters, 'read'>;
  readonly findSignInNotice: SignInRedirect['findSignInNotice'];
  readonly flash: Pick<FlashCookie, 'read'>;
}

/**
 * `GET /auth/sign-in`: says why the user has to sign in, or what a link on another site requests, before the browser goes to
 * the provider, or what the user has refused there. A user who is signed in, and from whom nothing is requested, goes on to the return address.
 */
export function createSignInPage(parts: SignInPageParts): RequestHandler {
  const {
    config,
    tokens,
    getSessionId,
    pageUserTags,
    describePageUser,
    loginParameters,
    findSignInNotice,
    flash,
  } = parts;
  const { publicUrl, basePath, returnOrigins, landingPath } = config;

  /** The user who is signed in; `undefined` also when the store is unavailable. */
  async function loadCurrentUser(req: Request) {
    const id = getSessionId(req);
    const login = id === undefined ? undefined : await tokens.peek(id).catch(() => undefined);
    return id === undefined || !login ? undefined : { id, login };
  }

  async function renderSignIn(req: Request, res: Response): Promise<void> {
    const returnTo = safeReturnTo(req.query.return_to, publicUrl, returnOrigins, landingPath);
    const current = await loadCurrentUser(req);
    const userTags = current ? pageUserTags.tagsFor(current.id, current.login) : [];
    const message = flash.read(req);
    const isDeclined = message?.messages[0]?.key === 'declined' && message.userTag === userTags[0];
    if (current && !isStepUp(req.query) && !isDeclined) return res.redirect(303, returnTo);
    const granted = current?.login.tokens.scope ?? [];
    res.render('login', {
      ...(current && describePageUser(current.id, current.login)),
      notice: current ? undefined : await findSignInNotice(req),
      scopes: loginParameters.read(req.query, userTags).scope.filter((each) => !granted.includes(each)),
      continueUrl: isDeclined ? returnTo : undefined,
      loginUrl: copyLoginUrl(req.query, toReturnToParameter(returnTo, publicUrl), basePath),
    });
  }

  const router = Router({ caseSensitive: true });
  router.route(paths.signIn).get(renderSignIn).all(allowOnly('GET', 'HEAD'));
  return router;
}
