import { type ErrorRequestHandler, type Request, type RequestHandler, Router, urlencoded } from 'express';
import type { Config } from '../../config/load.ts';
import { AppError } from '../../errors.ts';
import { allowOnly } from '../../middleware/http-methods.ts';
import { removePageHeaders, rewriteRequest } from '../../middleware/rewrite-request.ts';
import {
  type ConsoleRow,
  emptyBody,
  fillPath,
  InvalidInputError,
  readBody,
} from '../../pages/console-rows.ts';
import { paths } from '../../paths.ts';
import { type PageUserTags, readTagFromQuery } from '../../session/page-user-tag.ts';
import type { Sessions } from '../../session/session.ts';
import type { TokenManager } from '../../tokens/token-manager.ts';

export interface ConsoleParts {
  readonly config: Pick<Config, 'publicUrl'>;
  readonly consoleRows: readonly ConsoleRow[];
  readonly tokens: Pick<TokenManager, 'peek'>;
  readonly sessions: Pick<Sessions, 'getSessionId' | 'findRecentOwner'>;
  readonly pageUserTags: Pick<PageUserTags, 'check'>;
  /** Limits the time and number of the bodies that a parser reads. */
  readonly limitBody: (parse: RequestHandler) => RequestHandler;
}

/**
 * `POST /auth/console`: sends the API call that a form of the console describes, for browsers without JavaScript. The response
 * is that of `/api`. The form is read only with a session, or if it can be saved because the session has ended. A form with a
 * file is the body of the call itself, and is not read; `row` is then a parameter of the query.
 * @param api handles the call like a request from the browser: same guards, scopes and limits
 * @param saveForm saves the form after an error that a login can help with, as it does for requests to `/api`
 */
export function createConsoleRoutes(
  { config: { publicUrl }, consoleRows, tokens, sessions, pageUserTags, limitBody }: ConsoleParts,
  api: RequestHandler,
  saveForm: ErrorRequestHandler,
): RequestHandler {
  /** Before the form is read, so that strangers cannot make Latchkey hold bodies in memory. */
  const requireSession: RequestHandler = async function requireSession(req, _res, next) {
    const id = sessions.getSessionId(req);
    if (id === undefined) throw new AppError('login_required');
    const login = await tokens.peek(id);
    if (login) pageUserTags.check(req, id, login);
    else if (!(await sessions.findRecentOwner(id))) throw new AppError('login_required');
    next();
  };

  const readForm = limitBody(urlencoded({ extended: false, limit: '256kb', inflate: false }));

  function findRow(name: unknown): ConsoleRow {
    const row = consoleRows.find((each) => each.name === name);
    if (!row) throw new AppError('not_found');
    return row;
  }

  const sendFile: RequestHandler = function sendFile(req, res, next) {
    if (!isFileForm(req)) return next();
    const { method, path, parameters, takesBody } = findRow(req.query.row);
    if (!takesBody || parameters.length > 0) throw new AppError('invalid_request');
    req.method = method;
    req.url = paths.api + path;
    call(req, res, next);
  };

  const send: RequestHandler = function send(req, res, next) {
    const input: Readonly<Record<string, unknown>> = req.body ?? {};
    const field = (name: string) => (typeof input[name] === 'string' ? input[name].trim() : '');
    const row = findRow(field('row'));
    try {
      const query = new URLSearchParams(field('query')).toString();
      const url = `${paths.api}${fillPath(row.path, field)}${query && `?${query}`}`;
      if (row.method === 'GET') return res.redirect(303, publicUrl + url);
      rewriteRequest(req, { method: row.method, url, ...(row.takesBody ? readBody(field) : emptyBody) });
    } catch (error) {
      if (!(error instanceof InvalidInputError)) throw error;
      const { session } = req.query;
      const pageUserTag = typeof session === 'string' ? session : undefined;
      const { problem, field, values } = error;
      return res.status(400).render('console-problem', { row, input, pageUserTag, problem, field, values });
    }
    call(req, res, next);
  };

  const call: RequestHandler = function call(req, res, next) {
    req.originalUrl = req.url;
    removePageHeaders(res);
    api(req, res, (error: unknown = new AppError('not_found')) => next(error));
  };

  const router = Router({ caseSensitive: true });
  router
    .route(paths.console)
    .post(readTagFromQuery, requireSession, sendFile, readForm, send, saveForm)
    .all(allowOnly('POST'));
  return router;
}

function isFileForm(req: Request): boolean {
  return req.headers['content-type']?.startsWith('multipart/form-data') ?? false;
}
