import { type NextFunction, type Request, type RequestHandler, type Response, Router } from 'express';
import type { Config } from '../config.ts';
import { AppError, type ErrorCode } from '../errors.ts';
import type { KeptForm, KeptForms } from '../tokens/kept-forms.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import { readFormFields } from '../web/form-fields.ts';
import { allowOnly } from '../web/methods.ts';
import type { Sessions } from '../web/session.ts';
import type { SessionMarks } from '../web/session-mark.ts';

interface ResumeParts {
  readonly config: Pick<Config, 'publicOrigin'>;
  readonly tokens: Pick<TokenManager, 'current'>;
  readonly sessions: Pick<Sessions, 'idOf' | 'ids'>;
  readonly marks: SessionMarks;
  readonly keptForms: KeptForms;
}

const idFormat = /^[\w-]{43}$/;
const requestId = 'x-request-id';
/** After these nobody can tell whether the API has done what was asked, so it must not be asked again. */
const mayHaveArrived: ReadonlySet<ErrorCode> = new Set([
  'upstream_unreachable',
  'upstream_timeout',
  'internal_error',
]);

/**
 * `/resume/:id`: a form that met the end of its session is shown to the person whose it is, and sent when they say so.
 * @param api takes the request from then on, as if it had just come: same guards, scopes and limits
 */
export function createResumeRoutes(
  { config, tokens, sessions, marks, keptForms }: ResumeParts,
  api: RequestHandler,
): RequestHandler {
  /** Goes on with the form of whoever is signed in, if it is theirs and still there. */
  function withForm(
    goOn: (form: KeptForm, req: Request, res: Response, next: NextFunction) => unknown,
  ): RequestHandler<{ id: string }> {
    return async function withForm(req, res, next) {
      const { id } = req.params;
      const sessionId = sessions.idOf(req);
      const login = sessionId === undefined ? undefined : await tokens.current(sessionId);
      if (sessionId === undefined || !login)
        return res.redirect(
          303,
          `${config.publicOrigin}/login?return_to=${encodeURIComponent(`/resume/${id}`)}`,
        );
      Object.assign(res.locals, { user: login.user, sessionMark: marks.of(sessionId, login) });
      const form = idFormat.test(id) ? await keptForms.peek(id) : undefined;
      if (form && sessions.ids.isOwner(form.sessionId, login.user.sub)) await goOn(form, req, res, next);
      else nothing(res);
    };
  }

  const show = withForm(({ method, url, ...form }, req, res) => {
    res.render('resume', { method, url, resumeAt: req.path, ...readFormFields(form) });
  });

  const send = withForm(async (_seen, req, res, next) => {
    const id = String(req.params.id);
    const form = await keptForms.take(id);
    if (!form) return nothing(res); // the button was pressed twice
    become(req, form);
    for (const name of res.getHeaderNames()) if (name !== requestId) res.removeHeader(name); // those of a page
    api(req, res, (error: unknown = new AppError('not_found')) => {
      putBack(id, form, error, req, res).finally(() => next(error));
    });
  });

  const discard = withForm(async (_seen, req, res) => {
    await keptForms.take(String(req.params.id));
    res.redirect(303, `${config.publicOrigin}/`);
  });

  /** A form that surely did nothing yet is not lost. */
  async function putBack(
    id: string,
    form: KeptForm,
    error: unknown,
    req: Request,
    res: Response,
  ): Promise<void> {
    if (res.headersSent || !(error instanceof AppError) || mayHaveArrived.has(error.code)) return;
    try {
      await keptForms.put(id, form);
      req.resumeAt = `/resume/${id}`;
    } catch (failure) {
      req.log.warn({ err: failure }, 'a form that could not be sent could not be kept once more');
    }
  }

  const resume = Router({ caseSensitive: true });
  resume
    .route('/resume/:id')
    .get(show)
    .post(send)
    .all(allowOnly('GET', 'HEAD', 'POST'));
  resume.route('/resume/:id/discard').post(discard).all(allowOnly('POST'));
  return resume;
}

/** One answer for what is gone, what never was, and what is somebody else's. */
function nothing(res: Response): void {
  res.status(404).render('nothing-kept');
}

/** The request is the one that was kept, but for the session it is sent in. */
export function become(
  req: Request,
  { method, url, contentType, body }: Pick<KeptForm, 'method' | 'url' | 'contentType' | 'body'>,
): void {
  req.method = method;
  req.url = url;
  delete req.headers['transfer-encoding'];
  delete req.headers['content-encoding'];
  req.headers['content-type'] = contentType;
  req.headers['content-length'] = String(body.length);
  req.keptBody = body;
}
