import { type ErrorRequestHandler, type RequestHandler, Router, urlencoded } from 'express';
import type { Config } from '../config.ts';
import { AppError } from '../errors.ts';
import type { ResourceServer } from '../route-table.ts';
import { allowOnly } from '../web/methods.ts';
import { takeMarkFromAddress } from '../web/session-mark.ts';
import { become } from './resume.ts';

/** One method of one row of the API table, as the API console offers it. */
export interface ConsoleRow {
  /** `POST /things/:id`: its name in forms. */
  readonly name: string;
  readonly method: string;
  /** The pattern below `/api`. */
  readonly path: string;
  readonly parameters: readonly { readonly name: string; readonly isRest: boolean }[];
  readonly takesBody: boolean;
}

const requestId = 'x-request-id';
const bodiless = new Set(['GET', 'OPTIONS']);

/** What the console can call: not what goes on until someone leaves (streams, WebSockets), and `HEAD` shows nothing. */
export function consoleRows(routes: readonly ResourceServer[]): readonly ConsoleRow[] {
  return routes
    .filter(({ stream, webSocket }) => !stream && !webSocket)
    .flatMap(({ path, methods }) =>
      Object.keys(methods)
        .filter((method) => method !== 'HEAD')
        .map((method) => ({
          name: `${method} ${path}`,
          method,
          path,
          parameters: parametersOf(path),
          takesBody: !bodiless.has(method),
        })),
    );
}

function parametersOf(path: string): ConsoleRow['parameters'] {
  return path
    .split('/')
    .filter((each) => /^[:*]/.test(each))
    .map((each) => ({ name: each.slice(1), isRest: each.startsWith('*') }));
}

/** What was entered cannot be sent as it is; `place` is the parameter it is about. */
class NotSendable extends Error {
  constructor(
    readonly problem: 'parameter' | 'json',
    readonly place = '',
  ) {
    super(problem);
  }
}

/**
 * `POST /console`: the call that a form of the console describes, for browsers without script, answered as `/api`
 * answers it.
 * @param api takes the request from then on, as if it had just come: same guards, scopes and limits
 * @param keepForm what stands behind `api` for requests that come to it directly
 */
export function createConsoleRoutes(
  { config: { routes, publicOrigin } }: { readonly config: Pick<Config, 'routes' | 'publicOrigin'> },
  api: RequestHandler,
  keepForm: ErrorRequestHandler,
): RequestHandler {
  const rows = consoleRows(routes);

  const send: RequestHandler = function send(req, res, next) {
    const entered: Readonly<Record<string, unknown>> = req.body ?? {};
    const field = (name: string) => (typeof entered[name] === 'string' ? entered[name].trim() : '');
    const row = rows.find(({ name }) => name === field('row'));
    if (!row) throw new AppError('not_found');
    try {
      const query = new URLSearchParams(field('query')).toString();
      const url = `/api${filledIn(row.path, field)}${query && `?${query}`}`;
      if (row.method === 'GET') return res.redirect(303, publicOrigin + url);
      become(req, { method: row.method, url, ...(row.takesBody ? readBody(field) : nothing) });
      req.originalUrl = url;
    } catch (error) {
      if (!(error instanceof NotSendable)) throw error;
      const { problem, place } = error;
      const { session } = req.query;
      const sessionMark = typeof session === 'string' ? session : undefined;
      return res.status(400).render('console-problem', { problem, place, row, entered, sessionMark });
    }
    for (const name of res.getHeaderNames()) if (name !== requestId) res.removeHeader(name); // those of a page
    api(req, res, (error: unknown = new AppError('not_found')) => next(error));
  };

  const router = Router({ caseSensitive: true });
  router
    .route('/console')
    .post(
      takeMarkFromAddress,
      urlencoded({ extended: false, limit: '256kb', inflate: false }),
      send,
      keepForm,
    )
    .all(allowOnly('POST'));
  return router;
}

/** The path with its parameters in it. Whatever they hold, it is one of the row's: browsers would resolve dots. */
function filledIn(path: string, field: (name: string) => string): string {
  return path
    .split('/')
    .map((piece) => {
      if (!/^[:*]/.test(piece)) return piece;
      const name = piece.slice(1);
      const value = field(`path.${name}`);
      const segments = piece.startsWith('*') ? value.split('/') : [value];
      if (value === '' || segments.some((each) => /^\.{1,2}$/.test(each)))
        throw new NotSendable('parameter', name);
      return segments.map(encodeURIComponent).join('/');
    })
    .join('/');
}

const nothing = { contentType: '', body: Buffer.alloc(0) };

function readBody(field: (name: string) => string): typeof nothing {
  const text = field('body');
  if (text === '') return nothing;
  if (field('type') === 'form') {
    const body = new URLSearchParams(text.replace(/\r?\n/g, '&')).toString();
    return { contentType: 'application/x-www-form-urlencoded', body: Buffer.from(body) };
  }
  try {
    JSON.parse(text);
  } catch {
    throw new NotSendable('json');
  }
  return { contentType: 'application/json', body: Buffer.from(text) };
}
