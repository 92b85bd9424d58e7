import { type Request, type Response, Router } from 'express';
import type { Config } from '../config/load.ts';
import { returnToParameter, safeReturnTo } from '../login/return-url.ts';
import { allowOnly } from '../middleware/http-methods.ts';
import { consoleRows } from '../pages/console-rows.ts';
import { toDisplayFields } from '../pages/display-fields.ts';
import { describeTokens } from '../pages/token-panel.ts';
import { paths } from '../paths.ts';
import type { CallUpstream } from '../proxy/call-upstream.ts';
import type { PageUserTags } from '../session/page-user-tag.ts';
import type { Sessions } from '../session/session.ts';
import type { TokenSource } from '../session/token-source.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { TokenRecord } from '../tokens/token-store.ts';

interface PageParts {
  readonly config: Config;
  readonly tokens: TokenManager;
  readonly sessions: Sessions;
  readonly pageUserTags: PageUserTags;
  readonly createUserTokenSource: (id: string, login: TokenRecord) => TokenSource;
  readonly callUpstream: CallUpstream;
  readonly now: () => number;
}

const headerFields = new Set(['name', 'email', 'picture']);

/** The pages a person meets: home, sign-in, profile, signed out. */
export function createPageRoutes(parts: PageParts) {
  const { config, tokens, sessions, pageUserTags, createUserTokenSource, callUpstream, now } = parts;
  const { publicOrigin, corsOrigins } = config;
  const profileServer = config.routes.find(
    ({ path, methods, token }) => path === '/profile' && methods.GET && token === 'user',
  );

  const rows = consoleRows(config.routes);

  /** Who is signed in; when the store cannot tell, a public page is still served, for nobody in particular. */
  async function currentUser(req: Request) {
    const id = sessions.getSessionId(req);
    if (id === undefined) return undefined;
    const login = await tokens.peek(id).catch((error) => {
      req.log.warn({ err: error }, 'a public page is shown without knowing who is signed in');
      return undefined;
    });
    return login && { user: login.user, pageUserTag: pageUserTags.tagFor(id, login) };
  }

  async function home(req: Request, res: Response): Promise<void> {
    res.render('home', await currentUser(req));
  }

  async function login(req: Request, res: Response): Promise<void> {
    const returnTo = safeReturnTo(req.query.return_to, publicOrigin, corsOrigins);
    if (await currentUser(req)) return res.redirect(303, returnTo);
    const return_to = returnToParameter(returnTo, publicOrigin);
    res.render('login', { loginUrl: `${paths.login}?${new URLSearchParams({ return_to })}` });
  }

  async function signedOut(req: Request, res: Response): Promise<void> {
    const id = sessions.getSessionId(req);
    const isSignedIn = id !== undefined && (await tokens.peek(id)) !== undefined; // else it might not be true
    if (isSignedIn) res.redirect(303, `${publicOrigin}/`);
    else res.render('signed-out');
  }

  async function profile(req: Request, res: Response): Promise<void> {
    const id = sessions.getSessionId(req);
    const login = id === undefined ? undefined : await tokens.current(id);
    if (id === undefined || !login) {
      const signIn = new URLSearchParams({ return_to: req.originalUrl });
      return res.redirect(303, `${publicOrigin}${paths.signIn}?${signIn}`);
    }
    const [endsAt, apiProfile] = await Promise.all([
      tokens.endsAt(id),
      profileOf(createUserTokenSource(id, login), req),
    ]);
    const { flash } = req.session;
    if (flash !== undefined) {
      delete req.session.flash;
      await sessions.save(req);
    }
    const { user } = login;
    const pageUserTag = pageUserTags.tagFor(id, login);
    const name = user.name ?? (typeof apiProfile?.name === 'string' ? apiProfile.name : undefined);
    const fields = toDisplayFields({ ...user, ...apiProfile }).filter(({ key }) => !headerFields.has(key));
    const profileLoaded = apiProfile !== undefined;
    const panel = describeTokens(login, config, now());
    res.render('profile', {
      flash,
      user,
      pageUserTag,
      name,
      fields,
      profileLoaded,
      panel,
      endsAt,
      consoleRows: rows,
    });
  }

  /** What the API behind `/api/profile` says of this person, if there is one; the page is of use without it. */
  async function profileOf(
    tokenSource: TokenSource,
    req: Request,
  ): Promise<Readonly<Record<string, unknown>> | undefined> {
    if (!profileServer) return {};
    try {
      const response = await callUpstream({
        server: profileServer,
        method: 'GET',
        path: profileServer.targetPath,
        headers: { accept: 'application/json', ...profileServer.headers },
        tokenSource,
        body: null,
        signal: AbortSignal.timeout(profileServer.timeoutMs),
      });
      const body: unknown = await response.body.json();
      if (response.statusCode !== 200 || typeof body !== 'object' || body === null)
        throw new Error(`the API answered ${response.statusCode}`);
      return { ...body };
    } catch (error) {
      req.log.warn({ err: error }, 'the profile page is shown without the profile');
      return undefined;
    }
  }

  const pages = Router({ caseSensitive: true });
  const readOnly = allowOnly('GET', 'HEAD');
  pages.route(paths.home).get(home).all(readOnly);
  pages.route(paths.signIn).get(login).all(readOnly);
  pages.route(paths.signedOut).get(signedOut).all(readOnly);
  pages.route(paths.profile).get(sessions.load, profile).all(readOnly);
  return pages;
}
