import { json, type RequestHandler } from 'express';
import type { Condition } from '../claims/conditions.ts';
import { checkOwnRoutes, nameOwnRoute, OwnRoutesError } from '../config/reading/own-route-checks.ts';
import type { RequestExample } from '../config/reading/request-example.ts';
import {
  type Method,
  type ResourceServer,
  type RouteTableOptions,
  type RouteTableRow,
  readRouteTable,
} from '../config/route-table.ts';
import type { ClaimGuards } from '../session/require-claim.ts';
import { requireAnyScope, requireScope } from '../session/require-scope.ts';
import type { createTokenGuards } from '../session/require-token.ts'; // also declares `req.login` for handlers in code

/** Members of a row of the route table, with the same meaning and the same defaults. */
type RowMembers = Omit<RouteTableRow, 'path' | 'methods' | 'target' | 'token'>;

/** A route in code. Members that it shares with a row of the route table have the same meaning and the same defaults. */
export interface CodeRoute extends Pick<RowMembers, 'rateLimit' | 'saveForms' | 'stream' | 'webSocket'> {
  /** Path under `/api`: literal segments, `:name`, and as the last segment `*name` for one or more. */
  readonly path: RouteTableRow['path'];
  /** The handlers of each method, which run in this order. `GET` includes `HEAD`. */
  readonly methods: Readonly<Partial<Record<Method, readonly RequestHandler[]>>>;
  /** Requests with which developers can try the methods. */
  readonly examples?: Readonly<Partial<Record<Method, RequestExample>>>;
}

/** Where `forwardTo` sends a request, and how. */
export interface ForwardOptions extends Omit<RowMembers, 'rateLimit' | 'saveForms'> {
  /** A path relative to `OAUTH2_API_BASE_URL`, or an absolute URL; it may use the parameters of the route's path. */
  readonly target: RouteTableRow['target'];
  /** `none` sends no access token, even if a guard has loaded one. */
  readonly token?: 'none';
}

/** What routes in code are made of. */
export interface CodeRouteParts {
  /** Loads the user's access token, refreshed if necessary, and sets `req.login`; 401 `login_required` without a session. */
  readonly requireToken: RequestHandler;
  /** Loads the app token, for these scopes. */
  readonly requireAppToken: (...scope: readonly string[]) => RequestHandler;
  /** Loads the user's access token if a user is signed in, and the app token otherwise. */
  readonly requireUserOrAppToken: (...scope: readonly string[]) => RequestHandler;
  /** After `requireToken`: 403 `insufficient_scope` unless the user granted all of these. */
  readonly requireScope: (...scopes: readonly string[]) => RequestHandler;
  /** The same, for at least one of these. */
  readonly requireAnyScope: (...scopes: readonly string[]) => RequestHandler;
  /** After `requireToken`: 403 `insufficient_claims` unless this claim about the user meets the condition. */
  readonly requireClaim: (name: string, condition: Condition) => RequestHandler;
  /** Reads a JSON body of up to 256 KiB into `req.body`. Put it after the guards. */
  readonly readJson: RequestHandler;
  /** Forwards the request to an API with the token that the guards before it have loaded. */
  readonly forwardTo: (target: string | ForwardOptions) => RequestHandler;
}

export type CodeRoutes = (parts: CodeRouteParts) => readonly CodeRoute[];

/** In the place of the handler that `forwardTo` returned: what to forward to. */
export type OwnHandlers = readonly (RequestHandler | { readonly forwardTo: ResourceServer })[];

/** A route in code that has passed the checks of the route table. */
export interface OwnRoute {
  /** The members that it shares with rows of the route table; its target is not used. */
  readonly server: ResourceServer;
  readonly methods: readonly (readonly [Method, OwnHandlers])[];
}

type TokenGuards = ReturnType<typeof createTokenGuards>;

interface CodeRouteServices extends TokenGuards, Pick<ClaimGuards, 'requireClaim'> {
  /** Limits the time and number of the bodies that a parser reads. */
  readonly limitBody: (parse: RequestHandler) => RequestHandler;
}

/** The target of a route while its other members are checked. */
const noTarget = 'https://none.invalid';

/**
 * The routes that `defineRoutes` returns, checked like rows of the route table.
 * @param table the rows of the route table, with which they must not conflict
 * @throws OwnRoutesError with every problem
 */
export function readCodeRoutes(
  defineRoutes: CodeRoutes,
  { limitBody, ...guards }: CodeRouteServices,
  table: { readonly routes: readonly ResourceServer[]; readonly routeOptions: RouteTableOptions },
): readonly OwnRoute[] {
  const optionsOf = new WeakMap<RequestHandler, ForwardOptions>();
  const problems = new Set<string>();

  function forwardTo(target: string | ForwardOptions): RequestHandler {
    const handler: RequestHandler = function forwardTo() {
      throw new Error('forwardTo() must be listed among the methods of a route: it is not a handler to call');
    };
    optionsOf.set(handler, typeof target === 'string' ? { target } : target);
    return handler;
  }

  function readRow(row: object, { path }: CodeRoute): ResourceServer | undefined {
    const read = readRouteTable({ routes: [row] }, table.routeOptions);
    for (const each of read.problems)
      problems.add(`${nameOwnRoute(path)}: ${each.replace(/^routes\[0\]\.?/, '')}`);
    return read.routes[0];
  }

  const readJson = limitBody(json({ limit: '256kb', inflate: false }));
  const parts = { ...guards, requireScope, requireAnyScope, readJson, forwardTo };
  const routes = defineRoutes(parts).flatMap((route): OwnRoute[] => {
    const { methods, examples = {}, ...members } = route;
    const named = Object.keys(methods) as readonly Method[];
    const noScopes = {
      methods: Object.fromEntries(named.map((each) => [each, { example: examples[each] }])),
    };
    const forwarded = named.flatMap((each) =>
      (methods[each] ?? []).flatMap((handler) => optionsOf.get(handler) ?? []),
    );
    for (const each of named)
      if (!methods[each]?.length) problems.add(`${nameOwnRoute(route.path)}: methods.${each} has no handler`);
    for (const each of Object.keys(examples))
      if (!(each in methods)) problems.add(`${nameOwnRoute(route.path)}: examples.${each} is not in methods`);
    const own = {
      ...members,
      ...noScopes,
      token: 'none', // any host check that a row without a session has
      ...(forwarded.some(({ stream }) => stream) && { stream: true }),
      ...(forwarded.some(({ webSocket }) => webSocket) && { webSocket: true }),
    };
    const server = readRow({ ...own, target: noTarget }, route);
    const read = named.map((method) => {
      const handlers = (methods[method] ?? []).map((handler) => {
        const options = optionsOf.get(handler);
        const target = options && readRow({ ...own, token: 'user', ...options }, route);
        return target ? { forwardTo: target } : handler;
      });
      return [method, handlers] as const;
    });
    return server ? [{ server, methods: read }] : [];
  });
  for (const each of checkOwnRoutes(
    routes.map(({ server }) => server),
    table.routes,
  ))
    problems.add(each);
  if (problems.size > 0) throw new OwnRoutesError([...problems]);
  return routes;
}

/** The targets of `routes`, to which addresses in responses are mapped back. */
export function listTargets(routes: readonly OwnRoute[]): readonly ResourceServer[] {
  return routes.flatMap(({ methods }) =>
    methods.flatMap(([, handlers]) =>
      handlers.flatMap((each) => ('forwardTo' in each ? [each.forwardTo] : [])),
    ),
  );
}
