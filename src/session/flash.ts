import type { Request, Response } from 'express';
import type { Config } from '../config/load.ts';
import { deriveKeys, formatVersion, seal, unseal } from '../crypto/sealing.ts';
import { readCookie } from './read-cookie.ts';

/** The keys under `flash` in `views/texts/`. */
export type FlashKey =
  | 'signed_in'
  | 'signed_out'
  | 'signed_out_confirmed'
  | 'cancelled'
  | 'granted'
  | 'declined'
  | 'refreshed'
  | 'refresh_postponed'
  | 'session_ended'
  | 'session_had_ended'
  | 'other_sessions_ended'
  | 'no_other_sessions';

/** What has just happened, for the next page. */
export interface Flash {
  readonly messages: readonly FlashMessage[];
  /** The page-user tag of the user for whom it is; `undefined`: for pages without a user. */
  readonly userTag: string | undefined;
  /** What the provider has to return after a sign-out there, to confirm it. */
  readonly logoutState?: string;
}

export interface FlashMessage {
  readonly key: FlashKey;
  /** The permissions that it is about. */
  readonly scopes?: readonly string[];
  /** The browser that it is about, by its usual names. */
  readonly device?: { readonly browser?: string; readonly os?: string };
}

/**
 * Messages that are shown once, on the next page. They travel sealed in a cookie of their own, so that they cost no request to
 * the store, every instance can show them, and nobody can invent one. A page deletes the cookie when it shows them. Otherwise
 * they are forgotten after a minute; those of a sign-out after ten, because the provider's pages come in between.
 */
export interface FlashCookie {
  set(res: Response, flash: Flash): void;
  read(req: Request): Flash | undefined;
  clear(res: Response): void;
}

const shortMs = 60_000;
const signOutMs = 600_000;
const maxScopes = 20;
const context = 'flash';

interface Payload extends Omit<Flash, 'userTag'> {
  readonly v: number;
  readonly userTag?: string | undefined;
  readonly endsAt: number;
}

export function createFlashCookie({ cookie, ...source }: Config['session'], now: () => number): FlashCookie {
  const keys = deriveKeys(source, 'flash');
  const attributes = { httpOnly: true, path: '/', secure: cookie.secure, sameSite: 'lax' } as const;

  return {
    set(res, { messages, ...flash }) {
      const maxAge = messages.some(({ key }) => key === 'signed_out') ? signOutMs : shortMs;
      const payload: Payload = {
        ...flash,
        messages: messages.map(({ scopes, ...message }) => ({
          ...message,
          ...(scopes && { scopes: scopes.slice(0, maxScopes) }),
        })),
        v: formatVersion,
        endsAt: now() + maxAge,
      };
      const sealed = seal(keys[0]!, JSON.stringify(payload), context).toString('base64url');
      res.cookie(cookie.flashName, sealed, { ...attributes, maxAge });
    },

    read(req) {
      const sealed = readCookie(req, cookie.flashName);
      if (sealed === undefined) return undefined;
      for (const key of keys) {
        const text = unseal(key, Buffer.from(sealed, 'base64url'), context);
        if (text === undefined) continue;
        const { v, endsAt, userTag, ...flash } = JSON.parse(text) as Payload; // sealed, so only we can have written it
        return v === formatVersion && now() < endsAt ? { ...flash, userTag } : undefined;
      }
      return undefined;
    },

    clear(res) {
      res.clearCookie(cookie.flashName, attributes);
    },
  };
}
