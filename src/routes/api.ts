import type { NextFunction, Request, RequestHandler, Response } from 'express';
import type { MethodRule, ResourceServer } from '../config/route-table.ts';
import { AppError } from '../errors.ts';
import { inSequence } from '../in-sequence.ts';
import type { RateLimit } from '../middleware/rate-limit.ts';
import { rejectWebSocket } from '../proxy/websocket/upgrade.ts';
import type { ClaimGuards } from '../session/require-claim.ts';
import { requireAnyScope, requireScope } from '../session/require-scope.ts';
import type { OwnHandlers, OwnRoute } from './code-routes.ts';
import { createRouteLookup, type FoundRoute } from './route-lookup.ts';

interface ApiParts {
  /** The routes in code. */
  readonly ownRoutes: readonly OwnRoute[];
  readonly routes: readonly ResourceServer[];
  readonly requireAllowedHost: RequestHandler;
  readonly requireToken: RequestHandler;
  readonly requireAppToken: (...scope: readonly string[]) => RequestHandler;
  readonly requireUserOrAppToken: (...scope: readonly string[]) => RequestHandler;
  readonly requireClaims: ClaimGuards['requireClaims'];
  readonly limit: (name: string, rate: RateLimit) => RequestHandler;
  readonly forwardTo: (server: ResourceServer) => RequestHandler;
  /** For routes in code whose last handler streams its response itself. */
  readonly closeWithSession: RequestHandler;
  readonly measureAs: (server: ResourceServer, method: string) => RequestHandler;
}

/** `/api/*`: the routes in code, then those of the route table, and nothing else. */
export function createApiRoutes(parts: ApiParts): RequestHandler {
  const { ownRoutes, routes, requireAllowedHost, requireToken, limit, forwardTo, measureAs } = parts;

  /** The middleware that loads the route's token and checks its scopes and claims. */
  function createGuards(server: ResourceServer, rule: MethodRule): readonly RequestHandler[] {
    const { allOf, anyOf, claims } = rule;
    const scopes = [
      ...(allOf.length > 0 ? [requireScope(...allOf)] : []),
      ...(anyOf.length > 0 ? [requireAnyScope(...anyOf)] : []),
      ...(claims ? [parts.requireClaims(claims)] : []),
    ];
    switch (server.token) {
      case 'user':
        return [requireToken, ...scopes];
      case 'app':
        return [parts.requireAppToken(...allOf)];
      case 'user-or-app':
        return [parts.requireUserOrAppToken(...allOf), ...scopes.map(applyIfSignedIn)];
      case 'none': // the API gets no token, but may need to know the user, or who is let in
        return claims || Object.keys(server.identityHeaders).length > 0 ? [requireToken, ...scopes] : [];
    }
  }

  /** `handlers` of one method of a row, after what all routes have in common. */
  function createHandler(
    server: ResourceServer,
    method: string,
    ...handlers: readonly RequestHandler[]
  ): RequestHandler {
    const { path, rateLimit, token } = server;
    const hostCheck = token === 'user' ? [] : [requireAllowedHost]; // elsewhere, the cookie belongs to the public host
    const limits = rateLimit ? [limit(`${Object.keys(server.methods)} ${path}`, rateLimit)] : [];
    const formRule = server.saveForms ? [] : [refuseToSaveForm];
    return inSequence(...formRule, measureAs(server, method), ...hostCheck, ...limits, ...handlers);
  }

  const createTableHandler = (server: ResourceServer, method: string, rule: MethodRule) =>
    createHandler(server, method, ...createGuards(server, rule), forwardTo(server));

  function createOwnHandler({ server }: OwnRoute, method: string, handlers: OwnHandlers): RequestHandler {
    const own = handlers.map((each) => ('forwardTo' in each ? forwardTo(each.forwardTo) : each));
    const streamsItself = server.stream && handlers.every((each) => !('forwardTo' in each));
    if (streamsItself) own.splice(-1, 0, parts.closeWithSession); // after the guards
    return createHandler(server, method, ...(server.webSocket ? [] : [rejectWebSocket]), ...own);
  }

  const find = createRouteLookup([
    ...ownRoutes.map((route) => {
      const handlers = route.methods.map(
        ([method, own]) => [method, createOwnHandler(route, method, own)] as const,
      );
      return { path: route.server.path, value: createRow(route.server.path, new Map(handlers)) };
    }),
    ...routes.map((server) => {
      const handlers = Object.entries(server.methods).map(
        ([method, rule]) => [method, createTableHandler(server, method, rule)] as const,
      );
      return { path: server.path, value: createRow(server.path, new Map(handlers)) };
    }),
  ]);

  return function routeApi(req, res, next) {
    const found = find(req.path);
    const handle = (index: number): unknown => {
      const match = found[index];
      if (!match) return isHandled(found, req.method) ? next() : rejectMethod(req, res, found);
      const { params, value: row } = match;
      const handler = row.handlers.get(req.method);
      if (!handler) return handle(index + 1);
      req.params = params as Record<string, string>; // the types of Express do not know wildcards
      req.route = row.route;
      return handler(req, res, (error?: unknown) => (error === undefined ? handle(index + 1) : next(error)));
    };
    handle(0);
  };
}

/** One row of the route table. */
interface Row {
  readonly route: { readonly path: string };
  readonly handlers: ReadonlyMap<string, RequestHandler>;
}

/** Requests with HEAD get the handler of GET, if they have none of their own. */
function createRow(path: string, handlers: ReadonlyMap<string, RequestHandler>): Row {
  const get = handlers.get('GET');
  return { route: { path }, handlers: get ? new Map([['HEAD', get], ...handlers]) : handlers };
}

/** True if no row is left to respond: there is none, or a route in code passed the request on. */
function isHandled(found: readonly FoundRoute<Row>[], method: string): boolean {
  return found.length === 0 || found.some(({ value }) => value.handlers.has(method));
}

function refuseToSaveForm(req: Request, _res: Response, next: NextFunction): void {
  req.isFormSavable = false;
  next();
}

function applyIfSignedIn(guard: RequestHandler): RequestHandler {
  return function applyIfSignedIn(req, res, next) {
    return req.login ? guard(req, res, next) : next();
  };
}

/** Responds to a method that no row of the path allows: `OPTIONS` gets 204, others 405, both with `Allow`. */
function rejectMethod(req: Request, res: Response, found: readonly FoundRoute<Row>[]): void {
  const allowed = found.flatMap(({ value }) => {
    const methods = [...value.handlers.keys()];
    return methods.includes('GET') ? ['GET', 'HEAD', ...methods] : methods;
  });
  const allow = [...new Set([...allowed, 'OPTIONS'])];
  if (req.method !== 'OPTIONS') throw new AppError('method_not_allowed', { allow });
  res.status(204).set('Allow', allow.join(', ')).end();
}
