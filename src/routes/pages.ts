import { type Request, type Response, Router } from 'express';
import type { Config } from '../config.ts';
import { AppError } from '../errors.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import type { TokenRecord } from '../tokens/token-store.ts';
import type { Bearer } from '../web/bearer.ts';
import { factsOf } from '../web/facts.ts';
import { allowOnly } from '../web/methods.ts';
import { returnToParameter, safeReturnTo } from '../web/return-to.ts';
import type { Sessions } from '../web/session.ts';
import type { SessionMarks } from '../web/session-mark.ts';
import type { CallUpstream } from '../web/upstream.ts';
import { consoleRows } from './console-calls.ts';
import { describeTokens } from './token-panel.ts';

interface PageParts {
  readonly config: Config;
  readonly tokens: TokenManager;
  readonly sessions: Sessions;
  readonly marks: SessionMarks;
  readonly bearerOf: (id: string, login: TokenRecord) => Bearer;
  readonly callUpstream: CallUpstream;
  readonly now: () => number;
}

const shownAbove = new Set(['name', 'email', 'picture']);

/** The pages a person meets: home, sign-in, profile, signed out. */
export function createPageRoutes(parts: PageParts) {
  const { config, tokens, sessions, marks, bearerOf, callUpstream, now } = parts;
  const { publicOrigin, corsOrigins } = config;
  const profileServer = config.routes.find(
    ({ path, methods, token }) => path === '/profile' && methods.GET && token === 'user',
  );

  const rows = consoleRows(config.routes);

  /** Who is signed in; when the store cannot tell, a public page is still served, for nobody in particular. */
  async function reader(req: Request) {
    const id = sessions.idOf(req);
    if (id === undefined) return undefined;
    const login = await tokens.peek(id).catch((error) => {
      req.log.warn({ err: error }, 'a public page is shown without knowing who is signed in');
      return undefined;
    });
    return login && { user: login.user, sessionMark: marks.of(id, login) };
  }

  async function home(req: Request, res: Response): Promise<void> {
    res.render('home', await reader(req));
  }

  async function login(req: Request, res: Response): Promise<void> {
    const returnTo = safeReturnTo(req.query.return_to, publicOrigin, corsOrigins);
    if (await reader(req)) return res.redirect(303, returnTo);
    const return_to = returnToParameter(returnTo, publicOrigin);
    res.render('login', { loginUrl: `/auth/login?${new URLSearchParams({ return_to })}` });
  }

  async function signedOut(req: Request, res: Response): Promise<void> {
    const id = sessions.idOf(req);
    const isSignedIn = id !== undefined && (await tokens.peek(id)) !== undefined; // else it might not be true
    if (isSignedIn) res.redirect(303, `${publicOrigin}/`);
    else res.render('signed-out');
  }

  async function profile(req: Request, res: Response): Promise<void> {
    const id = sessions.idOf(req);
    const login = id === undefined ? undefined : await tokens.current(id);
    if (id === undefined || !login) {
      const signIn = new URLSearchParams({ return_to: req.originalUrl });
      return res.redirect(303, `${publicOrigin}/login?${signIn}`);
    }
    const [endsAt, told] = await Promise.all([tokens.endsAt(id), profileOf(bearerOf(id, login), req)]);
    const { flash } = req.session;
    if (flash !== undefined) {
      delete req.session.flash;
      await sessions.save(req);
    }
    const { user } = login;
    const sessionMark = marks.of(id, login);
    const name = user.name ?? (typeof told?.name === 'string' ? told.name : undefined);
    const facts = factsOf({ ...user, ...told }).filter(({ key }) => !shownAbove.has(key));
    const isWhole = told !== undefined;
    const panel = describeTokens(login, config, now());
    res.render('profile', {
      flash,
      user,
      sessionMark,
      name,
      facts,
      isWhole,
      panel,
      endsAt,
      consoleRows: rows,
    });
  }

  /** What the API behind `/api/profile` says of this person, if there is one; the page is of use without it. */
  async function profileOf(
    bearer: Bearer,
    req: Request,
  ): Promise<Readonly<Record<string, unknown>> | undefined> {
    if (!profileServer) return {};
    try {
      const answer = await callUpstream({
        server: profileServer,
        method: 'GET',
        path: profileServer.targetPath,
        headers: { accept: 'application/json', ...profileServer.headers },
        bearer,
        body: null,
        signal: AbortSignal.timeout(profileServer.timeoutMs),
      });
      const body: unknown = await answer.body.json();
      if (answer.statusCode !== 200 || typeof body !== 'object' || body === null)
        throw new Error(`the API answered ${answer.statusCode}`);
      return { ...body };
    } catch (error) {
      req.log.warn({ err: error }, 'the profile page is shown without the profile');
      return undefined;
    }
  }

  const pages = Router({ caseSensitive: true });
  const readOnly = allowOnly('GET', 'HEAD');
  pages.route('/').get(home).all(readOnly);
  pages.route('/login').get(login).all(readOnly);
  pages.route('/signed-out').get(signedOut).all(readOnly);
  pages.route('/profile').get(sessions.load, profile).all(readOnly);
  pages.use(() => {
    throw new AppError('not_found');
  });
  return pages;
}
