import { createSecretKey } from 'node:crypto';
import { unsign } from 'cookie-signature';
import type { Request, RequestHandler, Response } from 'express';
import session, { type Store } from 'express-session';
import type { Config } from '../config/load.ts';
import { AppError, storeUnavailable } from '../errors.ts';
import { readCookie } from './read-cookie.ts';
import { createSessionIds, type SessionIds } from './session-id.ts';

declare module 'express-session' {
  interface SessionData {
    /** Epoch milliseconds of the login. express-session sets a cookie only for a session that holds something. */
    startedAt: number;
    /** A message for the next page, by its key in `views/`. */
    flash: string;
  }
}

/** The browser's session: an opaque signed id in a cookie, and express-session behind it where pages need more. */
export interface Sessions {
  /** Loads `req.session`; 503 when the store cannot tell, never a session that is silently empty. */
  readonly load: RequestHandler;
  /** The id in the browser's cookie if we signed it; whether anyone is logged in under it, the token store knows. */
  getSessionId(req: Request): string | undefined;
  /**
   * The browser has a session of the person `sub` under a new id, and the old one is gone (no fixation); with
   * `preserveData` its data is in the new one. Needs `load`.
   */
  start(
    req: Request,
    as: { readonly sub: string | undefined; readonly preserveData: boolean },
  ): Promise<string>;
  /** Tells of the id of a session that is over whose it was. */
  readonly ids: SessionIds;
  /** `req.session` is stored before the answer goes out, so that the next request finds it. Needs `load`. */
  save(req: Request): Promise<void>;
  /** This answer sets no cookie and stores no session: what the browser had before, it keeps. */
  detach(req: Request): void;
  /** The browser has no session and no cookie. Needs `load`. */
  end(req: Request, res: Response): Promise<void>;
}

const notSecureMessage =
  'the session cookie is secure but this request came without X-Forwarded-Proto: https from a proxy in TRUST_PROXY';

/** express-session set up so that it writes only when asked to and never slides by itself. */
export function createSessions(
  { secrets, cookie, absoluteSeconds }: Config['session'],
  store: Store,
  now: () => number,
): Sessions {
  const name = cookie.prefix;
  const attributes = { httpOnly: true, path: '/', secure: cookie.secure, sameSite: cookie.sameSite } as const;
  const keys = secrets.map((each) => each.reveal());
  const verifyingKeys = keys.map((each) => createSecretKey(each, 'utf8')); // made once: see sealing.ts
  const ids = createSessionIds(secrets);
  const subForNewSession = new WeakMap<Request, string>(); // for `genid`, which is told the request and nothing else
  const expressSession = session({
    genid: (req) => ids.create(subForNewSession.get(req)),
    name,
    store,
    secret: keys,
    resave: false,
    saveUninitialized: false,
    cookie: { ...attributes, maxAge: absoluteSeconds * 1000 },
  });

  return {
    ids,

    load(req, res, next) {
      if (cookie.secure && !req.secure)
        throw new AppError('internal_error', { cause: new Error(notSecureMessage) });
      let isLoaded = false;
      expressSession(req, res, (error?: unknown) => {
        if (isLoaded) {
          // It calls once more when it could not save at the end of an answer, which is on its way by then.
          req.log.warn({ err: error }, 'a session could not be stored');
          return;
        }
        isLoaded = true;
        if (error) next(storeUnavailable(error));
        // express-session passes on without a session while its store says it is disconnected.
        else next(req.session ? undefined : storeUnavailable(new Error('no session was loaded')));
      });
    },

    getSessionId(req) {
      const value = readCookie(req, name);
      if (!value?.startsWith('s:')) return undefined;
      for (const key of verifyingKeys) {
        const id = unsign(value.slice(2), key);
        if (id !== false) return id;
      }
      return undefined;
    },

    async start(req, { sub, preserveData }) {
      const { cookie: _, startedAt: _before, ...data } = req.session;
      if (sub !== undefined) subForNewSession.set(req, sub);
      await promisifySession((done) => req.session.regenerate(done)).catch((error) => {
        abandon(req);
        throw error;
      });
      Object.assign(req.session, preserveData ? data : {}, { startedAt: now() });
      return req.sessionID;
    },

    detach: abandon,

    save: (req) => promisifySession((done) => req.session.save(done)),

    async end(req, res) {
      await promisifySession((done) => req.session.destroy(done));
      res.clearCookie(name, attributes);
    },
  };
}

function abandon(req: Request): void {
  Reflect.deleteProperty(req, 'session');
}

function promisifySession(act: (done: (error?: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    act((error) => (error ? reject(storeUnavailable(error)) : resolve()));
  });
}
