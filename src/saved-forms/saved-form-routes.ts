import { type NextFunction, type Request, type RequestHandler, type Response, Router } from 'express';
import type { Config } from '../config/load.ts';
import { AppError, type ErrorCode } from '../errors.ts';
import type { SignInRedirect } from '../login/sign-in-redirect.ts';
import { allowOnly } from '../middleware/http-methods.ts';
import { removePageHeaders, rewriteRequest } from '../middleware/rewrite-request.ts';
import { paths } from '../paths.ts';
import type { DescribePageUser } from '../session/page-user.ts';
import type { Sessions } from '../session/session.ts';
import type { TokenManager } from '../tokens/token-manager.ts';
import { createFormPreview, previewUrl } from './form-preview.ts';
import type { SavedForm, SavedForms } from './saved-forms.ts';

interface SavedFormParts {
  readonly config: Pick<Config, 'publicUrl' | 'basePath'>;
  readonly tokens: Pick<TokenManager, 'current'>;
  readonly sessions: Pick<Sessions, 'getSessionId' | 'ids'>;
  readonly describePageUser: DescribePageUser;
  readonly savedForms: SavedForms;
  readonly redirectToSignIn: SignInRedirect['redirectToSignIn'];
}

const idFormat = /^[\w-]{43}$/;
/** After these errors the API may have processed the form, so it must not be sent again. */
const outcomeUnknownCodes: ReadonlySet<ErrorCode> = new Set([
  'upstream_unreachable',
  'upstream_timeout',
  'internal_error',
]);

/**
 * `/auth/resume/:id`: shows a saved form to the user who submitted it, and sends it when the user confirms.
 * `/auth/resume/:id/discard` deletes it.
 * @param api handles the request of the form like one from the browser: same guards, scopes and limits
 */
export function createSavedFormRoutes(
  { config, tokens, sessions, describePageUser, savedForms, redirectToSignIn }: SavedFormParts,
  api: RequestHandler,
): RequestHandler {
  const resumePathOf = (id: string) => `${config.basePath}${paths.savedForms}/${id}`;

  /** Calls `handler` with the form if it belongs to the signed-in user. Without a user, leads to sign in. */
  function withForm(
    handler: (form: SavedForm, req: Request, res: Response, next: NextFunction) => unknown,
  ): RequestHandler<{ id: string }> {
    return async function withForm(req, res, next) {
      const { id } = req.params;
      const sessionId = sessions.getSessionId(req);
      const login = sessionId === undefined ? undefined : await tokens.current(sessionId);
      if (sessionId === undefined || !login) return redirectToSignIn(req, res, resumePathOf(id));
      Object.assign(res.locals, describePageUser(sessionId, login));
      const form = idFormat.test(id) ? await savedForms.peek(id) : undefined;
      if (form && sessions.ids.isOwner(form.sessionId, login.user.sub)) await handler(form, req, res, next);
      else sendNotFound(res);
    };
  }

  const show = withForm(({ method, url, ...form }, req, res) => {
    res.render('saved-form', {
      method,
      url: previewUrl(url),
      resumePath: config.basePath + req.path,
      ...createFormPreview(form),
    });
  });

  const send = withForm(async (_form, req, res, next) => {
    const id = String(req.params.id);
    const form = await savedForms.take(id);
    if (!form) return sendNotFound(res); // the user pressed the button twice
    rewriteRequest(req, form);
    removePageHeaders(res);
    api(req, res, (error: unknown = new AppError('not_found')) => {
      restoreForm(id, form, error, req, res).finally(() => next(error));
    });
  });

  const discard = withForm(async (_form, req, res) => {
    await savedForms.take(String(req.params.id));
    res.redirect(303, `${config.publicUrl}/`);
  });

  /** Saves the form again if the API has certainly not processed it. */
  async function restoreForm(
    id: string,
    form: SavedForm,
    error: unknown,
    req: Request,
    res: Response,
  ): Promise<void> {
    if (res.headersSent || !(error instanceof AppError) || outcomeUnknownCodes.has(error.code)) return;
    try {
      await savedForms.put(id, form);
      req.resumePath = resumePathOf(id);
    } catch (failure) {
      req.log.warn(
        { err: failure },
        'a saved form could not be sent, and could not be saved again; the form is lost',
      );
    }
  }

  const router = Router({ caseSensitive: true });
  router
    .route(`${paths.savedForms}/:id`)
    .get(show)
    .post(send)
    .all(allowOnly('GET', 'HEAD', 'POST'));
  router.route(`${paths.savedForms}/:id/discard`).post(discard).all(allowOnly('POST'));
  return router;
}

/** The same response for a form that is gone, never existed or belongs to another user. */
function sendNotFound(res: Response): void {
  res.status(404).render('saved-form-not-found');
}
