import type { Request } from 'express';
import type { ResourceServer } from '../config/route-table.ts';
import { AppError } from '../errors.ts';
import { createUserTokenSource } from '../session/token-source.ts';
import type { TokenManager } from '../tokens/token-manager.ts';

type FetchInit = NonNullable<Parameters<typeof globalThis.fetch>[1]>;

interface UserFetchParts {
  readonly routes: readonly ResourceServer[];
  readonly baseUrl: URL | undefined;
  /** Other origins that may get a user's token. */
  readonly fetchOrigins: readonly string[];
  readonly tokens: Pick<TokenManager, 'current' | 'replaceRefused'>;
  readonly getSessionId: (req: Request) => string | undefined;
  readonly now: () => number;
  /** Throws for a request with an unsafe method that another site made the browser send. */
  readonly rejectUnsafeCrossOrigin: (req: Request) => void;
}

const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const maxRedirects = 5;

/** `latchkey.fetch`: as the global `fetch`, with the access token of the user who sent `req`. */
export function createUserFetch(parts: UserFetchParts) {
  const { routes, baseUrl, tokens, getSessionId } = parts;
  const origins: ReadonlySet<string> = new Set([
    ...routes.filter(({ token }) => token === 'user' || token === 'user-or-app').map(({ origin }) => origin),
    ...(baseUrl ? [baseUrl.origin] : []),
    ...parts.fetchOrigins,
  ]);

  function resolve(url: string | URL): URL {
    const isPath = typeof url === 'string' && /^\/(?![/\\])/.test(url);
    const resolved = new URL(isPath ? `.${url}` : url, baseUrl && toFolder(baseUrl));
    if (resolved.username || resolved.password) throw new TypeError('the URL must not contain credentials');
    if (origins.has(resolved.origin)) return resolved;
    throw new TypeError(
      `a user's token is not sent to ${resolved.origin}: add a route for it to the route table, or the origin to the option fetchOrigins`,
    );
  }

  /** Follows redirects of safe requests as long as they lead to origins that may get the token. */
  async function send(url: URL, init: FetchInit, accessToken: string): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set('authorization', `Bearer ${accessToken}`);
    const follows = (init.redirect ?? 'follow') === 'follow';
    const isSafe = /^(get|head)$/i.test(init.method ?? 'GET');
    let target = url;
    for (let redirects = 0; ; redirects += 1) {
      const response = await globalThis.fetch(target.href, {
        ...init,
        headers,
        redirect: follows ? 'manual' : init.redirect,
      } as FetchInit);
      const location = response.headers.get('location');
      if (!follows || !isSafe || location === null || !redirectStatuses.has(response.status)) return response;
      if (redirects === maxRedirects || !URL.canParse(location, target.href)) return response;
      const next = new URL(location, target.href);
      if (!origins.has(next.origin) || next.username || next.password) return response;
      await response.body?.cancel();
      target = next;
    }
  }

  return async function userFetch(req: Request, url: string | URL, init: FetchInit = {}): Promise<Response> {
    parts.rejectUnsafeCrossOrigin(req); // its route may have no guard
    const target = resolve(url);
    init.signal?.throwIfAborted();
    const id = getSessionId(req);
    const login = id === undefined ? undefined : await untilAborted(init.signal, tokens.current(id));
    if (id === undefined || !login) throw new AppError('login_required');
    const source = createUserTokenSource(parts, id, login);
    const response = await send(target, init, source.accessToken);
    if (response.status !== 401 || !source.replace) return response;
    const replaced = await untilAborted(init.signal, source.replace()).catch(async (error: unknown) => {
      await response.body?.cancel(); // else it would keep its connection
      throw error;
    });
    if (!replaced || !canSendAgain(init.body)) return response;
    await response.body?.cancel();
    return send(target, init, replaced.accessToken);
  };
}

/** So that relative URLs are below the whole path of `base`. */
function toFolder(base: URL): URL {
  return base.pathname.endsWith('/') ? base : new URL(`${base.pathname}/`, base);
}

/** False for streams, which the first attempt has consumed. */
function canSendAgain(body: FetchInit['body']): boolean {
  return (
    body === undefined ||
    body === null ||
    typeof body === 'string' ||
    body instanceof URLSearchParams ||
    body instanceof FormData ||
    body instanceof Blob ||
    body instanceof ArrayBuffer ||
    ArrayBuffer.isView(body)
  );
}

/** The result of `work`, which goes on if the caller stops waiting: others may share it. */
async function untilAborted<T>(signal: AbortSignal | null | undefined, work: Promise<T>): Promise<T> {
  if (!signal) return work;
  work.catch(() => undefined); // it may fail when nobody waits for it any more
  signal.throwIfAborted();
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    if (stop) signal.removeEventListener('abort', stop);
  }
}
