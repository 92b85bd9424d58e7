import { type NextFunction, type Request, type RequestHandler, type Response, Router } from 'express';
import type { Method, ResourceServer, ScopeRule } from '../config/route-table.ts';
import { AppError } from '../errors.ts';
import type { RateLimit } from '../middleware/rate-limit.ts';
import { requireAnyScope, requireScope } from '../session/require-scope.ts';

interface ApiParts {
  readonly routes: readonly ResourceServer[];
  readonly requireAllowedHost: RequestHandler;
  readonly requireToken: RequestHandler;
  readonly requireAppToken: (...scope: readonly string[]) => RequestHandler;
  readonly requireUserOrAppToken: (...scope: readonly string[]) => RequestHandler;
  readonly limit: (name: string, rate: RateLimit) => RequestHandler;
  readonly forwardTo: (server: ResourceServer) => RequestHandler;
  readonly measureAs: (server: ResourceServer, method: string) => RequestHandler;
}

/** `/api/*`: the routes of the route table, and nothing else. */
export function createApiRoutes(parts: ApiParts): RequestHandler {
  const { routes, requireAllowedHost, requireToken, limit, forwardTo, measureAs } = parts;

  /** The middleware that loads the route's token and checks its scopes. */
  function createGuards(server: ResourceServer, { allOf, anyOf }: ScopeRule): readonly RequestHandler[] {
    const scopes = [
      ...(allOf.length > 0 ? [requireScope(...allOf)] : []),
      ...(anyOf.length > 0 ? [requireAnyScope(...anyOf)] : []),
    ];
    switch (server.token) {
      case 'user':
        return [requireToken, ...scopes];
      case 'app':
        return [parts.requireAppToken(...allOf)];
      case 'user-or-app':
        return [parts.requireUserOrAppToken(...allOf), ...scopes.map(applyIfSignedIn)];
      case 'none':
        return [];
    }
  }

  const api = Router({ caseSensitive: true, strict: true });
  for (const server of routes) {
    const { path, rateLimit, token } = server;
    const hostCheck = token === 'user' ? [] : [requireAllowedHost]; // elsewhere, the cookie belongs to the public host
    const limits = rateLimit ? [limit(`${Object.keys(server.methods)} ${path}`, rateLimit)] : [];
    const forward = forwardTo(server);
    const formRule = server.saveForms ? [] : [refuseToSaveForm];
    for (const [method, rule] of Object.entries(server.methods))
      api[routerMethods[method as Method]](
        path,
        ...formRule,
        measureAs(server, method),
        ...hostCheck,
        ...limits,
        ...createGuards(server, rule),
        forward,
      );
  }
  handleOtherMethods(api, routes);
  return api;
}

const routerMethods = {
  GET: 'get',
  HEAD: 'head',
  POST: 'post',
  PUT: 'put',
  PATCH: 'patch',
  DELETE: 'delete',
  OPTIONS: 'options',
} as const satisfies Record<Method, string>;

function refuseToSaveForm(req: Request, _res: Response, next: NextFunction): void {
  req.isFormSavable = false;
  next();
}

function applyIfSignedIn(guard: RequestHandler): RequestHandler {
  return function applyIfSignedIn(req, res, next) {
    return req.login ? guard(req, res, next) : next();
  };
}

/** Responds to the methods that no row of a path allows: `OPTIONS` gets 204, others 405, both with `Allow`. */
function handleOtherMethods(api: Router, routes: readonly ResourceServer[]): void {
  for (const { path, methods } of routes) {
    const allowed = Object.keys(methods).flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
    api.all(path, (_req, res, next) => {
      res.locals.allow = [...(res.locals.allow ?? []), ...allowed];
      next();
    });
  }
  api.use((req, res, next) => {
    const allow: string[] | undefined = res.locals.allow;
    if (!allow) return next();
    const methods = [...new Set([...allow, 'OPTIONS'])];
    if (req.method !== 'OPTIONS') throw new AppError('method_not_allowed', { allow: methods });
    res.status(204).set('Allow', methods.join(', ')).end();
  });
}
