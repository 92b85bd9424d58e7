import { type NextFunction, type Request, type Response, Router, urlencoded } from 'express';
import type { default as OidcProvider } from 'oidc-provider';
import { type Interaction, saveGrant, splitRequestedScopes } from './consent.ts';
import { renderConsentPage, renderExpiredPage, renderLoginPage } from './interaction-pages.ts';
import { chooseTexts } from './texts.ts';
import { findUser } from './users.ts';

interface Form {
  readonly [field: string]: unknown;
}

function readText(form: Form, field: string): string {
  const value = form[field];
  return typeof value === 'string' ? value : '';
}

function readList(form: Form, field: string): readonly string[] {
  return [form[field]].flat().filter((value) => typeof value === 'string');
}

function readDeniedScopes(form: Form): ReadonlySet<string> {
  const allowed = readList(form, 'allow');
  return new Set(readList(form, 'asked').filter((scope) => !allowed.includes(scope)));
}

class InteractionError extends Error {
  readonly status = 400;
}

/** Whether the browser sent an invalid request, as opposed to an error of the provider itself. */
function isClientError(error: unknown): boolean {
  return error instanceof Error && 'status' in error && Number(error.status) < 500;
}

/** The sign-in and consent pages, to be mounted at `/interaction`. They use forms only, no script. */
export function createInteractionRouter(provider: OidcProvider, scopes: readonly string[]): Router {
  const router = Router();
  const supported = new Set(scopes);

  /** The interaction of this browser; throws `InteractionError` when the URL or the step does not belong to it. */
  async function loadInteraction(
    req: Request,
    res: Response,
    step?: 'login' | 'consent',
  ): Promise<Interaction> {
    const interaction = await provider.interactionDetails(req, res).catch((cause) => {
      throw new InteractionError('no interaction', { cause });
    });
    if (interaction.uid !== req.params.uid) throw new InteractionError('interaction mismatch');
    if (step !== undefined && interaction.prompt.name !== step)
      throw new InteractionError('unexpected interaction step');
    return interaction;
  }

  async function findClientName(interaction: Interaction): Promise<string> {
    const client = await provider.Client.find(String(interaction.params.client_id));
    return client?.clientName ?? 'the application';
  }

  function denyAccess(req: Request, res: Response, error_description: string): Promise<void> {
    return provider.interactionFinished(req, res, { error: 'access_denied', error_description });
  }

  router.use((_req, res, next) => {
    res.set('Cache-Control', 'no-store');
    next();
  });

  router.get('/:uid', async (req, res) => {
    const interaction = await loadInteraction(req, res);
    const texts = chooseTexts(req);
    const pageOptions = { texts, uid: interaction.uid, clientName: await findClientName(interaction) };
    if (interaction.prompt.name === 'login') {
      const hint = interaction.params.login_hint;
      res.send(renderLoginPage({ ...pageOptions, login: typeof hint === 'string' ? hint : '' }));
      return;
    }
    const userName = findUser(interaction.session?.accountId ?? '')?.name ?? '';
    res.send(
      renderConsentPage({ ...pageOptions, userName, ...splitRequestedScopes(interaction, supported) }),
    );
  });

  router.post('/:uid/login', urlencoded({ extended: false }), async (req, res) => {
    const interaction = await loadInteraction(req, res, 'login');
    const form: Form = req.body ?? {};
    if (readText(form, 'decision') === 'cancel') {
      await denyAccess(req, res, 'The user cancelled the sign-in');
      return;
    }
    const login = readText(form, 'login').trim();
    const user = findUser(login.toLowerCase());
    if (user === undefined || readText(form, 'password') === '') {
      const texts = chooseTexts(req);
      const problem = user === undefined ? texts.unknownUser : texts.passwordMissing;
      const pageOptions = { texts, uid: interaction.uid, clientName: await findClientName(interaction) };
      res.status(400).send(renderLoginPage({ ...pageOptions, login, problem }));
      return;
    }
    const result = { login: { accountId: user.sub } };
    await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: false });
  });

  router.post('/:uid/consent', urlencoded({ extended: false }), async (req, res) => {
    const interaction = await loadInteraction(req, res, 'consent');
    const form: Form = req.body ?? {};
    const isAllowed = readText(form, 'decision') !== 'deny';
    const grantId = isAllowed
      ? await saveGrant(provider, interaction, readDeniedScopes(form), supported)
      : undefined;
    if (grantId === undefined) {
      await denyAccess(req, res, 'The user denied access');
      return;
    }
    await provider.interactionFinished(req, res, { consent: { grantId } });
  });

  router.use((error: unknown, req: Request, res: Response, next: NextFunction) => {
    if (isClientError(error)) res.status(400).send(renderExpiredPage(chooseTexts(req)));
    else next(error);
  });

  return router;
}
