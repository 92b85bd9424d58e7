import { createHmac, type KeyObject, randomBytes } from 'node:crypto';
import type { Request, Response } from 'express';
import type { Config } from '../config.ts';
import { AppError } from '../errors.ts';
import type { AuthorizationRequest } from '../oauth/client.ts';
import { deriveKey, open, seal } from '../sealing.ts';
import { readCookie } from './cookies.ts';

const validForMs = 600_000;
const bindingFormat = /^[\w-]{43}$/;
const context = 'state';

/** One login attempt. It travels sealed in its own `state`; the server keeps nothing of it. */
export interface LoginTransaction extends AuthorizationRequest {
  /** Absolute URL, as `safeReturnTo` gives it. */
  readonly returnTo: string;
  /** How often this login has been started over by us. */
  readonly restarts: number;
}

/** What a login attempt is for: everything of a transaction that is not made for it. */
export type LoginWish = Omit<LoginTransaction, 'state' | 'codeVerifier' | 'nonce'>;

export interface LoginTransactions {
  /** A new transaction, bound to this browser by a cookie that all its tabs share. */
  begin(req: Request, res: Response, wish: LoginWish): LoginTransaction;
  /**
   * The transaction of a callback; without `transaction` when it is bound to another cookie than this browser has now, as
   * when several of its tabs began before any had one. Nothing may be spent on that: all it is good for is a new login.
   * @throws AppError `invalid_state`: forged, or begun more than ten minutes ago
   */
  accept(req: Request, state: unknown): { readonly wish: LoginWish; readonly transaction?: LoginTransaction };
}

interface Sealed extends Omit<LoginWish, 'scope'> {
  readonly binding: string;
  readonly nonce: string;
  readonly scope: string;
  readonly at: number;
}

export function createLoginTransactions(
  { secrets, cookie }: Config['session'],
  now: () => number,
): LoginTransactions {
  const name = `${cookie.prefix}-login`;
  const keys = secrets.map((secret) => ({
    state: deriveKey(secret, 'state'),
    verifier: deriveKey(secret, 'code_verifier'),
  }));

  function bindingOf(req: Request): string | undefined {
    const value = readCookie(req, name);
    return value !== undefined && bindingFormat.test(value) ? value : undefined;
  }

  /** Never stored and never sent but to the token endpoint: whoever holds the state cannot know it (RFC 7636). */
  function codeVerifier(key: KeyObject, binding: string, nonce: string): string {
    return createHmac('sha256', key).update(`${binding}.${nonce}`).digest('base64url');
  }

  return {
    begin(req, res, { returnTo, scope, acrValues, maxAge, restarts }) {
      const binding = bindingOf(req) ?? randomBytes(32).toString('base64url');
      res.cookie(name, binding, {
        httpOnly: true,
        path: '/',
        secure: cookie.secure,
        sameSite: 'lax', // the callback arrives from the provider's site, which `strict` would leave out
        maxAge: validForMs,
      });
      const nonce = randomBytes(24).toString('base64url');
      const [key] = keys;
      const wish = {
        returnTo,
        restarts,
        ...(acrValues !== undefined && { acrValues }),
        ...(maxAge !== undefined && { maxAge }),
      };
      const sealed: Sealed = { ...wish, binding, nonce, scope: scope.join(' '), at: now() };
      return {
        state: seal(key!.state, JSON.stringify(sealed), context).toString('base64url'),
        codeVerifier: codeVerifier(key!.verifier, binding, nonce),
        nonce,
        scope,
        ...wish,
      };
    },

    accept(req, state) {
      if (typeof state !== 'string')
        throw new AppError('invalid_state', { cause: new Error('the callback has no state, or several') });
      for (const key of keys) {
        const text = open(key.state, Buffer.from(state, 'base64url'), context);
        if (text === undefined) continue;
        const { binding, nonce, scope, at, ...rest } = JSON.parse(text) as Sealed; // only we can have sealed it
        if (now() - at > validForMs)
          throw new AppError('invalid_state', { cause: new Error('the login began too long ago') });
        const wish = { ...rest, scope: scope.split(' ') };
        if (binding !== bindingOf(req)) return { wish };
        return {
          wish,
          transaction: { ...wish, state, codeVerifier: codeVerifier(key.verifier, binding, nonce), nonce },
        };
      }
      throw new AppError('invalid_state', { cause: new Error('the state was not sealed here') });
    },
  };
}
