import { createServer, type Server } from 'node:http';
import express, { type NextFunction, type Request, type Response } from 'express';
import { getUser, requireUser } from './bearer-auth.ts';
import { createIntrospection, IntrospectionError, type IntrospectionSettings } from './introspection.ts';
import { createItemStore, findItemProblem } from './items.ts';
import { closeServer, listen, localAddress } from './server.ts';

export interface DemoResourceServerOptions extends IntrospectionSettings {
  /** 0 for any free port. */
  readonly port: number;
  /** The address to bind to. Default `127.0.0.1`. */
  readonly host?: string;
}

export interface DemoResourceServer {
  /** Base URL with the bound address, without a trailing slash. */
  readonly url: string;
  readonly port: number;
  readonly server: Server;
  close(): Promise<void>;
}

function errorHandler(error: unknown, _req: Request, res: Response, _next: NextFunction): void {
  if (error instanceof IntrospectionError) {
    res.status(503).set('Retry-After', '1').json({ error: 'temporarily_unavailable' });
    return;
  }
  const status = error instanceof Error && 'status' in error ? Number(error.status) : 500;
  if (status >= 500) res.status(status).json({ error: 'server_error' });
  else {
    const message =
      error instanceof SyntaxError
        ? 'The body is not valid JSON.'
        : String(error instanceof Error ? error.message : error);
    res.status(status).json({ error: 'invalid_request', message });
  }
}

/** Starts an API with a profile and a list of items per user. It introspects the token of every request. */
export async function startDemoResourceServer(
  options: DemoResourceServerOptions,
): Promise<DemoResourceServer> {
  const { host = '127.0.0.1' } = options;
  const introspection = createIntrospection(options);
  const items = createItemStore();

  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use((_req, res, next) => {
    res.set('Cache-Control', 'no-store');
    next();
  });
  app.get('/api/user/profile', requireUser(introspection, 'read:profile'), (_req, res) => {
    const { sub, name, email, memberSince, plan } = getUser(res);
    res.json({ sub, name, email, member_since: memberSince, plan });
  });
  app.get('/api/user/data', requireUser(introspection, 'read:data'), (_req, res) => {
    res.json({ items: items.list(getUser(res)) });
  });
  app.post('/api/user/data', requireUser(introspection, 'write:data'), express.json(), (req, res) => {
    const problem = findItemProblem(req.headers['content-type'], req.body);
    if (problem !== undefined) res.status(400).json({ error: 'invalid_request', message: problem });
    else res.status(201).json(items.add(getUser(res), req.body));
  });
  app.use((_req, res) => {
    res.status(404).json({ error: 'not_found' });
  });
  app.use(errorHandler);

  const server = createServer(app);
  const port = await listen(server, options.port, host);
  return {
    url: `http://${localAddress(host)}:${port}`,
    port,
    server,
    async close() {
      await closeServer(server);
      await introspection.close();
    },
  };
}
