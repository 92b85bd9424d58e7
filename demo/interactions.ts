import { type NextFunction, type Request, type Response, Router, urlencoded } from 'express';
import type { default as OidcProvider } from 'oidc-provider';
import { type Interaction, requestedScopes, saveGrant } from './consent.ts';
import { consentPage, expiredPage, loginPage } from './interaction-pages.ts';
import { findPerson } from './people.ts';

interface Form {
  readonly [field: string]: unknown;
}

function text(form: Form, field: string): string {
  const value = form[field];
  return typeof value === 'string' ? value : '';
}

function leftOut(form: Form): ReadonlySet<string> {
  return new Set([form.leave_out].flat().filter((value) => typeof value === 'string'));
}

class Expired extends Error {
  readonly status = 400;
}

/** Whether the browser sent something that cannot be served, as opposed to a fault of ours. */
function isCallersFault(error: unknown): boolean {
  return error instanceof Error && 'status' in error && Number(error.status) < 500;
}

/** The sign-in and consent pages, to be mounted at `/interaction`: forms only, no script. */
export function interactionPages(provider: OidcProvider): Router {
  const router = Router();

  /** The interaction this browser is in; throws `Expired` when it is another one, or at another step. */
  async function current(req: Request, res: Response, step?: 'login' | 'consent'): Promise<Interaction> {
    const interaction = await provider.interactionDetails(req, res).catch((cause) => {
      throw new Expired('no interaction', { cause });
    });
    if (interaction.uid !== req.params.uid) throw new Expired('another interaction');
    if (step !== undefined && interaction.prompt.name !== step) throw new Expired('another step');
    return interaction;
  }

  async function clientName(interaction: Interaction): Promise<string> {
    const client = await provider.Client.find(String(interaction.params.client_id));
    return client?.clientName ?? 'the application';
  }

  function refuse(req: Request, res: Response, error_description: string): Promise<void> {
    return provider.interactionFinished(req, res, { error: 'access_denied', error_description });
  }

  router.use((_req, res, next) => {
    res.set('Cache-Control', 'no-store');
    next();
  });

  router.get('/:uid', async (req, res) => {
    const interaction = await current(req, res);
    const shown = { uid: interaction.uid, clientName: await clientName(interaction) };
    if (interaction.prompt.name === 'login') {
      const hint = interaction.params.login_hint;
      res.send(loginPage({ ...shown, login: typeof hint === 'string' ? hint : '' }));
      return;
    }
    const personName = findPerson(interaction.session?.accountId ?? '')?.name ?? '';
    res.send(consentPage({ ...shown, personName, ...requestedScopes(interaction) }));
  });

  router.post('/:uid/login', urlencoded({ extended: false }), async (req, res) => {
    const interaction = await current(req, res, 'login');
    const form: Form = req.body ?? {};
    if (text(form, 'decision') === 'cancel') {
      await refuse(req, res, 'The person cancelled the sign-in');
      return;
    }
    const login = text(form, 'login').trim();
    const person = findPerson(login.toLowerCase());
    if (person === undefined || text(form, 'password') === '') {
      const problem =
        person === undefined
          ? 'Nobody here has that name. Try alice or bob.'
          : 'Type a password; any will do.';
      const shown = { uid: interaction.uid, clientName: await clientName(interaction) };
      res.status(400).send(loginPage({ ...shown, login, problem }));
      return;
    }
    const result = { login: { accountId: person.sub } };
    await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: false });
  });

  router.post('/:uid/consent', urlencoded({ extended: false }), async (req, res) => {
    const interaction = await current(req, res, 'consent');
    const form: Form = req.body ?? {};
    const allows = text(form, 'decision') !== 'deny';
    const grantId = allows ? await saveGrant(provider, interaction, leftOut(form)) : undefined;
    if (grantId === undefined) {
      await refuse(req, res, 'The person did not allow it');
      return;
    }
    await provider.interactionFinished(req, res, { consent: { grantId } });
  });

  router.use((error: unknown, _req: Request, res: Response, next: NextFunction) => {
    if (isCallersFault(error)) res.status(400).send(expiredPage());
    else next(error);
  });

  return router;
}
