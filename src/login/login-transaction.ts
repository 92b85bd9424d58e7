import { createHmac, type KeyObject, randomBytes } from 'node:crypto';
import type { Request, Response } from 'express';
import type { Config } from '../config/load.ts';
import { deriveKey, seal, unseal } from '../crypto/sealing.ts';
import { AppError } from '../errors.ts';
import type { AuthorizationRequest } from '../oauth/oauth-client.ts';
import { readCookie } from '../session/read-cookie.ts';

const validForMs = 600_000;
const bindingFormat = /^[\w-]{43}$/;
const aad = 'state';

/** One login attempt. It travels payload in its own `state`; the server keeps nothing of it. */
export interface LoginTransaction extends AuthorizationRequest {
  /** Absolute URL, as `safeReturnTo` gives it. */
  readonly returnTo: string;
  /** How often this login has been started over by us. */
  readonly restarts: number;
}

/** What a login attempt is for: everything of a transaction that is not made for it. */
export type LoginRequest = Omit<LoginTransaction, 'state' | 'codeVerifier' | 'nonce'>;

export interface LoginTransactions {
  /** A new transaction, bound to this browser by a cookie that all its tabs share. */
  create(req: Request, res: Response, loginRequest: LoginRequest): LoginTransaction;
  /**
   * The transaction of a callback; without `transaction` when it is bound to another cookie than this browser has now, as
   * when several of its tabs began before any had one. Nothing may be spent on that: all it is good for is a new login.
   * @throws AppError `invalid_state`: forged, or begun more than ten minutes ago
   */
  verify(
    req: Request,
    state: unknown,
  ): { readonly loginRequest: LoginRequest; readonly transaction?: LoginTransaction };
}

interface StatePayload extends Omit<LoginRequest, 'scope'> {
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

  function readBindingCookie(req: Request): string | undefined {
    const value = readCookie(req, name);
    return value !== undefined && bindingFormat.test(value) ? value : undefined;
  }

  /** Never stored and never sent but to the token endpoint: whoever holds the state cannot know it (RFC 7636). */
  function codeVerifier(key: KeyObject, binding: string, nonce: string): string {
    return createHmac('sha256', key).update(`${binding}.${nonce}`).digest('base64url');
  }

  return {
    create(req, res, { returnTo, scope, acrValues, maxAge, restarts }) {
      const binding = readBindingCookie(req) ?? randomBytes(32).toString('base64url');
      res.cookie(name, binding, {
        httpOnly: true,
        path: '/',
        secure: cookie.secure,
        sameSite: 'lax', // the callback arrives from the provider's site, which `strict` would leave out
        maxAge: validForMs,
      });
      const nonce = randomBytes(24).toString('base64url');
      const [key] = keys;
      const loginRequest = {
        returnTo,
        restarts,
        ...(acrValues !== undefined && { acrValues }),
        ...(maxAge !== undefined && { maxAge }),
      };
      const payload: StatePayload = { ...loginRequest, binding, nonce, scope: scope.join(' '), at: now() };
      return {
        state: seal(key!.state, JSON.stringify(payload), aad).toString('base64url'),
        codeVerifier: codeVerifier(key!.verifier, binding, nonce),
        nonce,
        scope,
        ...loginRequest,
      };
    },

    verify(req, state) {
      if (typeof state !== 'string')
        throw new AppError('invalid_state', { cause: new Error('the callback has no state, or several') });
      for (const key of keys) {
        const text = unseal(key.state, Buffer.from(state, 'base64url'), aad);
        if (text === undefined) continue;
        const { binding, nonce, scope, at, ...rest } = JSON.parse(text) as StatePayload; // only we can have payload it
        if (now() - at > validForMs)
          throw new AppError('invalid_state', { cause: new Error('the login began too long ago') });
        const loginRequest = { ...rest, scope: scope.split(' ') };
        if (binding !== readBindingCookie(req)) return { loginRequest };
        return {
          loginRequest,
          transaction: {
            ...loginRequest,
            state,
            codeVerifier: codeVerifier(key.verifier, binding, nonce),
            nonce,
          },
        };
      }
      throw new AppError('invalid_state', { cause: new Error('the state was not sealed here') });
    },
  };
}
