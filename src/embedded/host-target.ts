import type { RequestHandler } from 'express';
import type { Config } from '../config/load.ts';
import { type ResourceServer, readRouteTable } from '../config/route-table.ts';
import { AppError } from '../errors.ts';
import { parameterSegment } from '../proxy/target-path.ts';
import type { ForwardToOptions } from './api.ts';
import { OptionsError } from './options.ts';

/** The parameters that a target uses: `:id`, `*rest`. */
function listParameters(target: string): readonly string[] {
  const [path = ''] = target.replace(/^[a-z][a-z\d+.-]*:\/\/[^/?#]*/i, '').split(/[?#]/, 1);
  return path.split('/').flatMap((segment) => {
    const [, name] = parameterSegment.exec(segment) ?? [];
    return name === undefined ? [] : [segment.slice(0, name.length + 1)];
  });
}

/** A target of the app around Latchkey: no row of the route table, so it has no path under /api. */
type HostTarget = Omit<ResourceServer, 'path'> & { readonly hostPath: string | undefined };

/**
 * Where `latchkey.forwardTo(options)` sends requests, checked as a row of the route table.
 * @throws OptionsError with every problem
 */
export function readTarget(options: string | ForwardToOptions, { routeOptions }: Config): HostTarget {
  const members = typeof options === 'string' ? { target: options } : options;
  // The path of the route is known to the app only; this one has the parameters of the target, wildcards last.
  const names = [...new Set(listParameters(members.target))].sort(
    (a, b) => Number(/^\*/.test(a)) - Number(/^\*/.test(b)),
  );
  const path = members.path ?? `/${['in-your-app', ...names].join('/')}`;
  const row = { saveForms: false, ...members, path, token: 'user', methods: { GET: {} } };
  const { routes, problems } = readRouteTable({ routes: [row] }, routeOptions);
  const [server] = routes;
  if (server) {
    const { path: _, ...target } = server;
    return { ...target, hostPath: members.path };
  }
  throw new OptionsError(problems.map((each) => `forwardTo: ${each.replace(/^routes\[0\]\.?/, '')}`));
}

/**
 * Middleware for a target whose parameters the route of the app must have.
 * @throws AppError `internal_error`
 */
export function requireParameters(targetPath: string): RequestHandler {
  const names = listParameters(targetPath).map((each) => each.slice(1));
  return function requireParameters({ params }, _res, next) {
    const missing = names.find((name) => params[name] === undefined);
    if (missing === undefined) return next();
    const message = `forwardTo uses the parameter ${missing}, which the path of this route does not have`;
    throw new AppError('internal_error', { cause: new Error(message) });
  };
}
