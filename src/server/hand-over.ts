import type { RequestListener } from 'node:http';
import type { Config } from '../config/load.ts';
import type { Deps } from '../deps.ts';
import { paths } from '../paths.ts';

/** The process with its channel to `latchkey dev`, which has started it. */
type SupervisedProcess = Pick<NodeJS.Process, 'send' | 'on' | 'exit'>;

/** How this process replaces the previous one, and how the next one replaces it, in `latchkey dev`. */
export interface Replacement {
  /** `handler`, but requests wait until `takeOver` has settled. */
  hold(handler: RequestListener): RequestListener;
  /** Says that this process listens, and settles when the stores contain what those of the previous process contained. */
  takeOver(): Promise<void>;
  /** Calls `stop` when a new process listens. */
  onReplaced(stop: () => void): void;
  /** Sends what the stores contain. Nothing may be stored after this. */
  release(): Promise<void>;
}

/** How long requests in progress may take when a new process listens. */
export const replacedRequestsTimeoutMs = 2_000;
/** How long an idle connection may stay open then: browsers open some without a request. */
export const replacedIdleTimeoutMs = 50;
/** How long background work, such as a refresh, may take then. */
export const replacedWorkTimeoutMs = 3_000;

/**
 * Connects to `latchkey dev`. Both processes listen on the same port for a moment: the new one holds its requests until the
 * old one has finished and sent what is in its memory, so that no request is refused and no session is lost.
 */
export function joinReplacement(
  supervised: SupervisedProcess,
  config: Config,
  { handOver, log }: Pick<Deps, 'handOver' | 'log'>,
): Replacement {
  let held: (() => void)[] | undefined = [];
  const send = (message: object) =>
    new Promise<void>((resolve) => {
      if (supervised.send) supervised.send(message, undefined, undefined, () => resolve());
      else resolve();
    });

  async function release(): Promise<void> {
    await send({ type: 'released', sealed: (await handOver?.release())?.toString('base64') });
  }

  async function takeState(sealed: string | undefined): Promise<void> {
    if (!handOver || sealed === undefined) return;
    try {
      if (!(await handOver.takeOver(Buffer.from(sealed, 'base64'))))
        log.warn('all sessions have ended, because SESSION_SECRET, the provider or the client has changed');
    } catch (error) {
      log.warn({ err: error }, 'all sessions have ended: the previous process stored them in another form');
    }
  }

  // An error in code under development must not end the sessions.
  supervised.on('uncaughtException', () => {
    void release().finally(() => supervised.exit(1));
  });

  return {
    hold: (handler) => (req, res) => {
      if (held) held.push(() => handler(req, res));
      else handler(req, res);
    },

    async takeOver() {
      const received = new Promise<string | undefined>((resolve) => {
        supervised.on('message', (message) => {
          if (isMessage(message, 'take-over')) resolve(message.sealed);
        });
      });
      await send({ type: 'listening', ...describe(config), hasRedis: config.redis !== undefined });
      await takeState(await received);
      const waiting = held ?? [];
      held = undefined;
      for (const handle of waiting) handle();
      await send({ type: 'serving' });
    },

    onReplaced(stop) {
      supervised.on('message', (message) => {
        if (isMessage(message, 'release')) stop();
      });
    },

    release,
  };
}

/** What the demo provider has to know of this client, and what the summary shows. Nothing in here is secret. */
function describe({ publicUrl, provider, app, routes }: Config) {
  const scopesOf = (rules: (typeof routes)[number]['methods']) =>
    Object.values(rules).flatMap(({ allOf, anyOf }) => [...allOf, ...anyOf]);
  return {
    origin: publicUrl,
    redirectUri: provider.redirectUri.href,
    postLogoutRedirectUri: publicUrl + paths.signedOut,
    backchannelLogoutUri: publicUrl + paths.backchannelLogout,
    scopes: [
      ...new Set([...provider.scopes, ...app.scopes, ...routes.flatMap(({ methods }) => scopesOf(methods))]),
    ],
    apis: [...new Set(routes.map(({ origin }) => origin))],
    routes: routes.length,
  };
}

function isMessage(message: unknown, type: string): message is { readonly sealed?: string } {
  return typeof message === 'object' && message !== null && 'type' in message && message.type === type;
}
