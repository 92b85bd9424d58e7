import { type Request, type RequestHandler, Router } from 'express';
import { OwnRoutesError } from '../config/reading/own-route-checks.ts';
import type { SignInRedirect } from '../login/sign-in-redirect.ts';
import { allowOnly } from '../middleware/http-methods.ts';
import type { DescribePageUser } from '../session/page-user.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { TokenRecord } from '../tokens/token-store.ts';

/** A page in code. */
export interface CodePage {
  /** A path outside `/api` and `/auth`, as in Express. `/` replaces the home page. */
  readonly path: string;
  /** The name of a template in views/, without `.ejs`. */
  readonly view: string;
  /** Sends visitors who are not signed in to sign in, and sets `req.login` for `load`. */
  readonly requiresLogin?: boolean;
  /** The variables of the template, besides `user`, `t` and what all pages have. */
  readonly load?: (req: Request) => object | Promise<object>;
}

interface PageParts {
  readonly basePath: string;
  readonly redirectToSignIn: SignInRedirect['redirectToSignIn'];
  readonly tokens: Pick<TokenManager, 'peek' | 'current'>;
  readonly getSessionId: (req: Request) => string | undefined;
  readonly describePageUser: DescribePageUser;
}

/**
 * The pages in code.
 * @throws OwnRoutesError a path belongs to Latchkey
 */
export function createCodePages(pages: readonly CodePage[], parts: PageParts): RequestHandler {
  const { tokens, getSessionId, describePageUser, redirectToSignIn, basePath } = parts;

  /** As for the other pages, an unavailable store makes a page that needs no login look signed out. */
  async function loadLogin(req: Request, id: string, isRequired: boolean): Promise<TokenRecord | undefined> {
    if (isRequired) return tokens.current(id);
    return tokens.peek(id).catch((error) => {
      req.log.warn({ err: error }, 'session store unavailable; rendering the page as signed out');
      return undefined;
    });
  }

  function createHandler({ view, requiresLogin = false, load }: CodePage): RequestHandler {
    return async function renderCodePage(req, res) {
      const id = getSessionId(req);
      const login = id === undefined ? undefined : await loadLogin(req, id, requiresLogin);
      if (requiresLogin && !login) return redirectToSignIn(req, res, basePath + req.originalUrl);
      if (login) req.login = login;
      const userOfPage = id !== undefined && login ? describePageUser(id, login) : { isAnonymous: true };
      res.render(view, { ...userOfPage, ...(await load?.(req)) });
    };
  }

  const taken = pages.filter(({ path }) => !/^\/(?!(api|auth)(\/|$))/.test(path));
  if (taken.length > 0)
    throw new OwnRoutesError(
      taken.map(
        ({ path }) => `the page ${JSON.stringify(path)}: path must begin with /, and not with /api or /auth`,
      ),
    );
  const router = Router({ caseSensitive: true });
  for (const page of pages) router.route(page.path).get(createHandler(page)).all(allowOnly('GET', 'HEAD'));
  return router;
}
