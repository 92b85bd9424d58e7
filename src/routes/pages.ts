import { type Request, type Response, Router } from 'express';
import type { Config } from '../config/load.ts';
import { allowOnly } from '../middleware/http-methods.ts';
import { paths } from '../paths.ts';
import type { DescribePageUser } from '../session/page-user.ts';
import type { Sessions } from '../session/session.ts';
import type { TokenManager } from '../tokens/token-manager.ts';

interface PageParts {
  readonly config: Pick<Config, 'brand'>;
  readonly tokens: Pick<TokenManager, 'peek' | 'endedBy'>;
  readonly sessions: Pick<Sessions, 'getSessionId'>;
  readonly describePageUser: DescribePageUser;
}

/** The home page. `/favicon.ico` leads to the logo, for browsers that show JSON. */
export function createPageRoutes({ config, tokens, sessions, describePageUser }: PageParts) {
  /**
   * The user who is signed in, or `endedBy`: who ended their session from elsewhere. Neither while the store is
   * unavailable, so that public pages still work.
   */
  async function describeVisitor(req: Request) {
    const id = sessions.getSessionId(req);
    if (id === undefined) return {};
    try {
      const login = await tokens.peek(id);
      return login ? describePageUser(id, login) : { endedBy: await tokens.endedBy(id) };
    } catch (error) {
      req.log.warn({ err: error }, 'session store unavailable; rendering the page as signed out');
      return {};
    }
  }

  async function renderHome(req: Request, res: Response): Promise<void> {
    res.render('home', await describeVisitor(req));
  }

  const router = Router({ caseSensitive: true });
  const readOnly = allowOnly('GET', 'HEAD');
  router
    .route(paths.favicon)
    .get((_req, res) => res.redirect(302, config.brand.logoUrl))
    .all(readOnly);
  router.route(paths.home).get(renderHome).all(readOnly);
  return router;
}
