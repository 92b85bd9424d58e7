import { unsign } from 'cookie-signature';
import type { Request, RequestHandler, Response } from 'express';
import session, { type Session, type SessionData, type Store } from 'express-session';
import type { Config } from '../config/load.ts';
import { deriveKeys } from '../crypto/sealing.ts';
import { AppError, storeUnavailable } from '../errors.ts';
import { sessionDataGraceMs } from '../tokens/token-store.ts';
import { readCookie } from './read-cookie.ts';
import { createSessionIds, type SessionIds, type SessionOwner } from './session-id.ts';

declare module 'express-session' {
  interface SessionData {
    /** Epoch milliseconds of the login. Always set, because express-session sets no cookie for a session without data. */
    startedAt: number;
  }
}

/** The browser's session: a signed, opaque id in a cookie, and the data that express-session stores for pages. */
export interface Sessions {
  /** Middleware that fails when the session cookie must be `Secure` and the request did not arrive over https. */
  readonly requireHttps: RequestHandler;
  /** Middleware that loads the session. 503 when the store is unavailable, so an outage never looks like an empty session. */
  readonly load: RequestHandler;
  /** The id and the data of the session; `data` can be changed, and is stored by `save`. Needs `load`. */
  read(req: Request): { readonly id: string; readonly data: Session & Partial<SessionData> };
  /** The session id in the browser's cookie, if this client registration signed it. Whether a user is signed in, only the token store knows. */
  getSessionId(req: Request): string | undefined;
  /**
   * Replaces the session by one of the user `sub` under a new id (against session fixation), and returns that id. With
   * `preserveData` the new session keeps the data of the old one. Needs `load`.
   */
  start(
    req: Request,
    options: { readonly sub: string | undefined; readonly preserveData: boolean },
  ): Promise<string>;
  /** Creates session ids, and identifies the user of an id whose session has ended. */
  readonly ids: SessionIds;
  /**
   * Whose session `id` is, if it is in use or has expired less than an hour ago. A session that ended by a sign-out or was
   * replaced by another login has no owner any more.
   * @throws AppError `temporarily_unavailable`
   */
  findRecentOwner(id: string): Promise<SessionOwner | undefined>;
  /** Stores the session. Called before the response is sent, so that the next request finds the data. Needs `load`. */
  save(req: Request): Promise<void>;
  /** Makes the response set no cookie and store no session: the browser keeps the session that it had. */
  detach(req: Request): void;
  /** Deletes the session and its cookie. Needs `load`. */
  end(req: Request, res: Response): Promise<void>;
}

/** Each takes about 300 bytes. */
const maxVerifiedIds = 10_000;
const notSecureMessage =
  'cannot set the Secure session cookie: request is not https (the proxy says so in X-Forwarded-Proto, or is not in TRUST_PROXY)';

/** The attributes of the session cookie, for express-session. */
export function cookieOptions({
  cookie,
  absoluteSeconds,
}: Pick<Config['session'], 'cookie' | 'absoluteSeconds'>) {
  const { secure, sameSite } = cookie;
  return { httpOnly: true, path: '/', secure, sameSite, maxAge: absoluteSeconds * 1000 } as const;
}

/** Sessions based on express-session, which here stores only changed sessions and never extends one on its own. */
export function createSessions(
  { cookie, absoluteSeconds, ...source }: Config['session'],
  store: Store,
  now: () => number,
): Sessions {
  const cookieName = cookie.name;
  const { maxAge, ...attributes } = cookieOptions({ cookie, absoluteSeconds });
  const keys = deriveKeys(source, 'session_cookie');
  const ids = createSessionIds(source, now);
  const subForNewSession = new WeakMap<Request, string>(); // for `genid`, which receives only the request
  const expressSession = session({
    genid: (req) => ids.create(subForNewSession.get(req)),
    name: cookieName,
    store,
    secret: [...keys],
    resave: false,
    saveUninitialized: false,
    cookie: { ...attributes, maxAge },
  });

  /** True while the session data exists: until `sessionDataGraceMs` after the session has expired, or until it is deleted. */
  function hasData(id: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
      store.get(id, (error: unknown, data) => {
        if (error) reject(storeUnavailable(error));
        else resolve(Boolean(data));
      });
    });
  }

  function checkHttps(req: Request): void {
    if (cookie.secure && !req.secure)
      throw new AppError('internal_error', { cause: new Error(notSecureMessage) });
  }

  /** What express-session gets in the place of a request, by request. */
  const holders = new WeakMap<Request, Request>();

  function holderOf(req: Request): Request {
    const holder = holders.get(req);
    if (!holder) throw new Error('the session of this request has not been loaded');
    return holder;
  }

  const save = (req: Request) => promisifySession((done) => holderOf(req).session.save(done));

  /** By cookie value; the signature of each was correct, which it remains. */
  const verifiedIds = new Map<string, string>();

  function verify(received: string): string | undefined {
    if (!received.startsWith('s:')) return undefined;
    const value = Buffer.from(received).toString(); // a part of the Cookie header would keep all of it in memory
    for (const key of keys) {
      const id = unsign(value.slice(2), key);
      if (id === false) continue;
      if (verifiedIds.size >= maxVerifiedIds) verifiedIds.clear();
      verifiedIds.set(value, id);
      return id;
    }
    return undefined;
  }

  function getSessionId(req: Request): string | undefined {
    const value = readCookie(req, cookieName);
    return value === undefined ? undefined : (verifiedIds.get(value) ?? verify(value));
  }

  return {
    ids,

    requireHttps(req, _res, next) {
      checkHttps(req);
      next();
    },

    load(req, res, next) {
      checkHttps(req);
      let isLoaded = false;
      const holder = createHolder(req);
      holders.set(req, holder);
      expressSession(holder, res, (error?: unknown) => {
        if (isLoaded) {
          // express-session calls back again if saving fails at the end of the response: too late for an error response.
          req.log.warn({ err: error }, 'failed to save the session at the end of the response');
          return;
        }
        isLoaded = true;
        if (error) next(storeUnavailable(error));
        // While its store is disconnected, express-session continues without a session.
        else
          next(
            holder.session
              ? undefined
              : storeUnavailable(new Error('express-session returned no session (store disconnected)')),
          );
      });
    },

    async findRecentOwner(id) {
      const owner = ids.readOwner(id);
      if (!owner || now() > owner.startedAt + absoluteSeconds * 1000 + sessionDataGraceMs) return undefined;
      return (await hasData(id)) ? owner : undefined;
    },

    getSessionId,

    read(req) {
      const { sessionID, session } = holderOf(req);
      return { id: sessionID, data: session };
    },

    async start(req, { sub, preserveData }) {
      const holder = holderOf(req);
      const { cookie: _, startedAt: _before, ...data } = holder.session;
      if (sub !== undefined) subForNewSession.set(holder, sub);
      await promisifySession((done) => holder.session.regenerate(done)).catch((error) => {
        detach(holder);
        throw error;
      });
      Object.assign(holder.session, preserveData ? data : {}, { startedAt: now() });
      return holder.sessionID;
    },

    detach(req) {
      detach(holderOf(req));
    },

    save,

    async end(req, res) {
      await promisifySession((done) => holderOf(req).session.destroy(done));
      res.clearCookie(cookieName, attributes);
    },
  };
}

/** Without a session, express-session neither stores one nor sets a cookie at the end of the response. */
function detach(holder: Request): void {
  Object.assign(holder, { session: undefined });
}

/**
 * `req` as express-session gets it, which keeps its session in properties of the request. An app into which Latchkey is
 * mounted may use express-session too: it would take our session for its own, and the other way round.
 */
function createHolder(req: Request): Request {
  const own = { value: undefined, writable: true, enumerable: true, configurable: true };
  return Object.create(req, { session: own, sessionID: own, sessionStore: own });
}

function promisifySession(operation: (done: (error?: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    operation((error) => (error ? reject(storeUnavailable(error)) : resolve()));
  });
}
