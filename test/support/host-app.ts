import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express, { type Express } from 'express';
import type { Latchkey, LatchkeyOptions } from '../../src/embedded/api.ts';
import { createLatchkey } from '../../src/embedded/create-latchkey.ts';
import type { TestProviderHandle } from '../../src/testing/api.ts';
import { startTestProvider } from '../../src/testing/start-test-provider.ts';

interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: object;
}

/** What ends after each test, the last one first. */
export const closers: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

export async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  closers.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** An API that says which token and body it got. */
export async function startApi(provider: TestProviderHandle) {
  const requests: string[] = [];
  /** The next responses to requests with a token are redirects to these. */
  const locations: string[] = [];
  /** Responds to requests for a path instead. */
  const handlers = new Map<string, express.RequestHandler>();
  const app = express();
  app.get('/moved', (_req, res) => res.redirect(307, String(app.locals.movedTo)));
  app.use((req, res, next) => (handlers.get(req.path) ?? ((_req, _res, pass) => pass()))(req, res, next));
  app.use(async (req, res) => {
    const token = req.headers.authorization?.replace('Bearer ', '') ?? '';
    requests.push(`${req.method} ${req.url} ${token === '' ? 'no token' : 'token'}`);
    const found = provider.provider.findToken(token);
    if (!found) return void res.status(401).json({ error: 'invalid_token' });
    const location = locations.shift();
    if (location !== undefined) return void res.writeHead(303, { Location: location }).end();
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk);
    res.json({ ...found, method: req.method, url: req.url, body: Buffer.concat(chunks).toString() });
  });
  const server = createServer(app);
  return { url: await listen(server), requests, locations, handlers, app, server };
}

/** An app with Latchkey in it, which `define` mounts, on a free port, with a provider and an API. */
export async function startHostApp(
  define: (app: Express, latchkey: Latchkey) => void,
  more: LatchkeyOptions = {},
  basePath = '',
) {
  const app = express();
  const server = createServer(app);
  const origin = (await listen(server)).replace('127.0.0.1', 'localhost');
  const provider = await startTestProvider({ redirectUri: `${origin}${basePath}/auth/callback` });
  closers.push(provider.close);
  const api = await startApi(provider);
  const lines: Line[] = [];
  const write = (level: string) => (fields: object, message: string) =>
    lines.push({ level, message, fields });
  const latchkey = createLatchkey({
    logger: { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') },
    ...more,
    settings: { ...provider.provider.settings, OAUTH2_API_BASE_URL: api.url, ...more.settings },
  });
  closers.push(latchkey.close);
  define(app, latchkey);
  await latchkey.ready();
  return {
    app,
    server,
    origin,
    provider,
    api,
    latchkey,
    lines,
    signIn: (user = {}) => provider.signIn(server, user),
  };
}
