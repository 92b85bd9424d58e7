import { type ErrorRequestHandler, type Request, type RequestHandler, type Response, Router } from 'express';
import type { Config } from '../../config/load.ts';
import type { SignInRedirect } from '../../login/sign-in-redirect.ts';
import { allowOnly } from '../../middleware/http-methods.ts';
import { describeTokens } from '../../pages/token-panel.ts';
import { paths } from '../../paths.ts';
import type { DescribePageUser } from '../../session/page-user.ts';
import type { PageUserTags } from '../../session/page-user-tag.ts';
import type { Sessions } from '../../session/session.ts';
import type { TokenManager } from '../../tokens/token-manager.ts';
import { type ConsoleParts, createConsoleRoutes } from './console.ts';

interface DeveloperParts extends ConsoleParts {
  readonly config: Pick<Config, 'publicUrl' | 'basePath' | 'pages' | 'provider' | 'routes'>;
  readonly tokens: Pick<TokenManager, 'peek' | 'current' | 'endsAt'>;
  readonly sessions: Sessions;
  readonly pageUserTags: PageUserTags;
  readonly describePageUser: DescribePageUser;
  readonly now: () => number;
  readonly redirectToSignIn: SignInRedirect['redirectToSignIn'];
}

/** The page for developers and its API console; no routes at all without `DEVELOPER_PAGE`. */
export function createDeveloperRoutes(
  parts: DeveloperParts,
  api: RequestHandler,
  saveForm: ErrorRequestHandler,
): RequestHandler {
  const { config, tokens, sessions, describePageUser, consoleRows, now, redirectToSignIn } = parts;
  const router = Router({ caseSensitive: true });
  if (!config.pages.hasDeveloperPage) return router;

  async function renderPage(req: Request, res: Response): Promise<void> {
    const id = sessions.getSessionId(req);
    const login = id === undefined ? undefined : await tokens.current(id);
    if (id === undefined || !login) return redirectToSignIn(req, res, config.basePath + req.originalUrl);
    res.render('developer', {
      ...describePageUser(id, login),
      panel: describeTokens(login, config, now(), paths.developer),
      sessionEndsAt: await tokens.endsAt(id),
      consoleRows,
    });
  }

  router.route(paths.developer).get(renderPage).all(allowOnly('GET', 'HEAD'));
  return router.use(createConsoleRoutes(parts, api, saveForm));
}
