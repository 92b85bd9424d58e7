import express, { type Express } from 'express';
import session from 'express-session';
import type { Latchkey } from 'latchkey';
import { renderHome, renderItems } from './pages.ts';

declare module 'express-session' {
  interface SessionData {
    pageSize: number;
  }
}

/** The app as it was, with its own session, and what it has from Latchkey. The README explains the numbers. */
export function createApp(latchkey: Latchkey, sessionSecret: string): Express {
  const app = express();

  // 1. Login, sign-out and /api. Before everything that reads bodies.
  app.use(latchkey.router);
  // 2. A route that an API serves, with the user's token. Also before everything that reads bodies.
  app.post(
    '/items',
    latchkey.requireToken,
    latchkey.requireScope('write:data'),
    latchkey.forwardTo('/api/user/data'),
  );

  app.use(session({ secret: sessionSecret, name: 'app.sid', resave: false, saveUninitialized: false }));

  app.get('/', async (req, res) => {
    // 3. Who is signed in, for a page that everybody may read.
    const user = await latchkey.user(req);
    res.send(renderHome({ name: user && String(user.claims.name ?? user.sub), pageSize: pageSizeOf(req) }));
  });

  app.post('/page-size', express.urlencoded({ extended: false }), (req, res) => {
    const size = Number(req.body?.size);
    if (Number.isInteger(size) && size > 0 && size <= 100) req.session.pageSize = size;
    res.redirect(303, '/');
  });

  // 4. A page for signed-in users, which calls an API.
  app.get('/items', latchkey.requireLogin, async (req, res) => {
    const response = await latchkey.fetch(req, '/api/user/data', { signal: AbortSignal.timeout(5_000) });
    if (!response.ok) throw new Error(`the API responded with ${response.status}`);
    const { items } = (await response.json()) as { readonly items: readonly { readonly title: string }[] };
    res.send(renderItems(items.slice(0, pageSizeOf(req))));
  });

  // 5. The errors of `latchkey.user` and `latchkey.fetch`, such as a session that has ended.
  app.use(latchkey.handleErrors);
  return app;
}

function pageSizeOf({ session }: express.Request): number {
  return session.pageSize ?? 10;
}
