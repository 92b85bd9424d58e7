import { createHmac, type KeyObject, randomBytes } from 'node:crypto';
import type { Request, Response } from 'express';
import type { Config } from '../config/load.ts';
import { deriveKey, seal, unseal } from '../crypto/sealing.ts';
import { AppError } from '../errors.ts';
import type { AuthorizationRequest } from '../oauth/oauth-client.ts';
import { readCookie } from '../session/read-cookie.ts';

const stateTtlMs = 600_000;
const bindingFormat = /^[\w-]{43}$/;
const aad = 'state';

/** One login attempt. It is sealed into its own `state`; the server stores nothing of it. */
export interface LoginTransaction extends AuthorizationRequest {
  /** Absolute URL, as returned by `safeReturnTo`. */
  readonly returnTo: string;
  /** How often Latchkey has restarted this login. */
  readonly restarts: number;
}

/** The parameters of a login: a transaction without the values that `create` generates. */
export type LoginRequest = Omit<LoginTransaction, 'state' | 'codeVerifier' | 'nonce'>;

export interface LoginTransactions {
  /** A new transaction, bound to the browser by a cookie that all its tabs share. Sets that cookie. */
  create(req: Request, res: Response, loginRequest: LoginRequest): LoginTransaction;
  /**
   * The login of a callback. `transaction` is absent when `state` is bound to another cookie than the browser has now, for
   * example because several tabs started a login before there was a cookie. Then the code must not be redeemed, and
   * `loginRequest` may only start a new login.
   * @throws AppError `invalid_state`: missing, repeated, forged, or older than ten minutes
   */
  verify(
    req: Request,
    state: unknown,
  ): { readonly loginRequest: LoginRequest; readonly transaction?: LoginTransaction };
  /**
   * Over http, replaces the login cookie once a login has succeeded. There, another app on this host or a sibling host
   * may have set it; then the value that it knows serves for one login only. Over https, the prefix prevents this.
   */
  replaceCookie(res: Response, finished: LoginTransaction): void;
}

interface StatePayload extends Omit<LoginRequest, 'scope'> {
  readonly binding: string;
  readonly nonce: string;
  readonly scope: string;
  readonly at: number;
}

/** New states are sealed with the first of `secrets`; `verify` accepts states sealed with any of them. */
export function createLoginTransactions(
  { secrets, cookie }: Config['session'],
  now: () => number,
): LoginTransactions {
  const cookieName = cookie.loginName;
  const keys = secrets.map((secret) => ({
    state: deriveKey(secret, 'state'),
    verifier: deriveKey(secret, 'code_verifier'),
  }));

  function readBindingCookie(req: Request): string | undefined {
    const value = readCookie(req, cookieName);
    return value !== undefined && bindingFormat.test(value) ? value : undefined;
  }

  /** The PKCE verifier (RFC 7636). It is never stored, sent only to the token endpoint, and cannot be derived from `state`. */
  function deriveCodeVerifier(key: KeyObject, binding: string, nonce: string): string {
    return createHmac('sha256', key).update(`${binding}.${nonce}`).digest('base64url');
  }

  function setBindingCookie(res: Response, binding: string): void {
    res.cookie(cookieName, binding, {
      httpOnly: true,
      path: '/',
      secure: cookie.secure,
      sameSite: 'lax', // `strict` would withhold it from the callback, which comes from the provider's site
      maxAge: stateTtlMs,
    });
  }

  return {
    create(req, res, { returnTo, scope, acrValues, maxAge, restarts }) {
      const binding = readBindingCookie(req) ?? createBinding();
      setBindingCookie(res, binding);
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
        codeVerifier: deriveCodeVerifier(key!.verifier, binding, nonce),
        nonce,
        scope,
        ...loginRequest,
      };
    },

    verify(req, state) {
      if (typeof state !== 'string')
        throw new AppError('invalid_state', { cause: new Error('missing or repeated state parameter') });
      for (const key of keys) {
        const text = unseal(key.state, Buffer.from(state, 'base64url'), aad);
        if (text === undefined) continue;
        const { binding, nonce, scope, at, ...rest } = JSON.parse(text) as StatePayload; // sealed, so only we can have written it
        if (now() - at > stateTtlMs)
          throw new AppError('invalid_state', { cause: new Error('state expired') });
        const loginRequest = { ...rest, scope: scope.split(' ') };
        if (binding !== readBindingCookie(req)) return { loginRequest };
        return {
          loginRequest,
          transaction: {
            ...loginRequest,
            state,
            codeVerifier: deriveCodeVerifier(key.verifier, binding, nonce),
            nonce,
          },
        };
      }
      throw new AppError('invalid_state', {
        cause: new Error('state cannot be decrypted: forged, or sealed with an unknown SESSION_SECRET'),
      });
    },

    replaceCookie(res, { restarts }) {
      // After a restart the cookie stays: other tabs may be on their only restart, which a new cookie would make fail.
      if (!cookie.secure && restarts === 0) setBindingCookie(res, createBinding());
    },
  };
}

function createBinding(): string {
  return randomBytes(32).toString('base64url');
}
