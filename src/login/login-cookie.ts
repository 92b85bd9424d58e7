import type { Request, Response } from 'express';
import type { Config } from '../config/load.ts';
import { readCookie } from '../session/read-cookie.ts';

/** How long a login in progress keeps its cookie, and a state is valid. */
export const loginTtlMs = 600_000;
/** How soon after a login a missing session means that the browser has not kept its cookie. Longer than any redirect takes. */
const justNowMs = 60_000;
const format = /^([\w-]{43})(?:\.(?:(o)|d([0-9a-z]{1,9})))?$/;

/**
 * What happened last in this browser: the user signed out, or a login has finished a moment ago. Both mean that a login must
 * not begin without a click: it would undo the sign-out, or repeat itself for ever in a browser that keeps no session.
 */
export type LastLoginEvent = 'signed_out' | 'signed_in_just_now';

/**
 * The login cookie: the value that the logins of all tabs of a browser are bound to, and the last event. The event is in
 * this cookie because the number of our cookies is constant.
 */
export interface LoginCookie {
  readBinding(req: Request): string | undefined;
  readLastEvent(req: Request): LastLoginEvent | undefined;
  /** A login has begun, so that no event is the last one any more. */
  setBegun(res: Response, binding: string): void;
  setSignedIn(res: Response, binding: string): void;
  /** Until the browser is closed. */
  setSignedOut(res: Response, binding: string): void;
}

export function createLoginCookie(
  { cookie }: Pick<Config['session'], 'cookie'>,
  now: () => number,
): LoginCookie {
  const attributes = {
    httpOnly: true,
    path: '/',
    secure: cookie.secure,
    sameSite: 'lax', // `strict` would withhold it from the callback, which comes from the provider's site
  } as const;

  function read(req: Request) {
    const [, binding, signedOut, signedInAt] = format.exec(readCookie(req, cookie.loginName) ?? '') ?? [];
    return { binding, isSignedOut: signedOut !== undefined, signedInAt };
  }

  return {
    readBinding: (req) => read(req).binding,

    readLastEvent(req) {
      const { isSignedOut, signedInAt } = read(req);
      if (isSignedOut) return 'signed_out';
      if (signedInAt === undefined) return undefined;
      const isRecent = Math.abs(now() - Number.parseInt(signedInAt, 36) * 1000) < justNowMs;
      return isRecent ? 'signed_in_just_now' : undefined;
    },

    setBegun(res, binding) {
      res.cookie(cookie.loginName, binding, { ...attributes, maxAge: loginTtlMs });
    },

    setSignedIn(res, binding) {
      const at = Math.floor(now() / 1000).toString(36);
      res.cookie(cookie.loginName, `${binding}.d${at}`, { ...attributes, maxAge: loginTtlMs });
    },

    setSignedOut(res, binding) {
      res.cookie(cookie.loginName, `${binding}.o`, attributes);
    },
  };
}
