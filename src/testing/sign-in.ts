import { createServer, get, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import type { TestTarget, TestUser } from './api.ts';

interface SignInParts {
  readonly issuer: string;
  readonly redirectUri: string;
  /** What the provider does when the browser arrives there. */
  readonly authorize: (params: URLSearchParams, user: TestUser) => URL;
}

/** `signIn(app, user)`: the login of a browser, with every check of it; only the browser itself is replaced. */
export function createSignIn({ issuer, redirectUri, authorize }: SignInParts) {
  const callback = new URL(redirectUri);
  const loginPath = callback.pathname.replace(/callback$/, 'login');

  return async function signIn(target: TestTarget, user: TestUser = {}): Promise<string> {
    const { origin, close } = await listen(target);
    const cookies = new Map<string, string>();

    async function visit(path: string): Promise<Page> {
      const page = await navigate(origin + path, {
        Accept: 'text/html',
        'Sec-Fetch-Mode': 'navigate',
        'Sec-Fetch-Dest': 'document',
        Host: callback.host,
        'X-Forwarded-Proto': callback.protocol.slice(0, -1),
        ...(cookies.size > 0 && { Cookie: toHeader(cookies) }),
      });
      for (const each of page.headers['set-cookie'] ?? []) keep(cookies, each);
      return page;
    }

    try {
      const login = await visit(loginPath);
      const authorization = new URL(login.headers.location ?? '/', origin);
      if (authorization.origin !== issuer) throw describe('the login did not lead to the provider', login);
      const { pathname, search } = authorize(authorization.searchParams, user);
      const before = new Set(cookies.values());
      const landing = await visit(pathname + search);
      const hasSession = [...cookies.values()].some((value) => !before.has(value));
      if (landing.status !== 303 || !hasSession) throw describe('the callback signed nobody in', landing);
      return toHeader(cookies);
    } finally {
      await close();
    }
  };
}

/**
 * Serves `target` on a port of its own until `close`. A server gets the requests as an event, so that it need not listen, and
 * several users can sign in at the same time.
 */
async function listen(target: TestTarget) {
  if (typeof target === 'string') return { origin: new URL(target).origin, close: async () => {} };
  const server = createServer((req, res) => {
    if (typeof target === 'function') target(req, res);
    else if (!target.emit('request', req, res)) res.writeHead(503).end('the server has no request listener');
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  const close = () =>
    new Promise<void>((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    });
  return { origin: `http://127.0.0.1:${port}`, close };
}

function keep(cookies: Map<string, string>, setCookie: string): void {
  const [pair = '', ...attributes] = setCookie.split(/;\s*/);
  const end = pair.indexOf('=');
  const [name, value] = [pair.slice(0, end), pair.slice(end + 1)];
  const isRemoved = value === '' || attributes.some((each) => /^(max-age=0|expires=.*1970)/i.test(each));
  if (isRemoved) cookies.delete(name);
  else cookies.set(name, value);
}

function toHeader(cookies: ReadonlyMap<string, string>): string {
  return [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
}

function describe(what: string, { status, text }: Page): Error {
  const visible = text.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ');
  return new Error(`${what}: the app responded ${status} ${visible.slice(0, 500)}`);
}

interface Page {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** Not with `fetch`, which says itself what it fetches for (`Sec-Fetch-Mode`). */
function navigate(url: string, headers: OutgoingHttpHeaders): Promise<Page> {
  return new Promise((resolve, reject) => {
    get(url, { headers, agent: false }, (res) => {
      readText(res).then((text) => resolve({ status: res.statusCode, headers: res.headers, text }), reject);
    }).on('error', reject);
  });
}
