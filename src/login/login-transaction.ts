import { createHmac, type KeyObject, randomBytes } from 'node:crypto';
import type { Request, Response } from 'express';
import type { Config } from '../config/load.ts';
import { deriveKeys, formatVersion, seal, unseal } from '../crypto/sealing.ts';
import { AppError, storeUnavailable } from '../errors.ts';
import type { AuthorizationRequest } from '../oauth/login-requirements.ts';
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
  /** The value of the login cookie, which all logins of a browser share. */
  readonly binding: string;
}

/** The parameters of a login: a transaction without the values that `create` generates. */
export type LoginRequest = Omit<
  LoginTransaction,
  'state' | 'codeVerifier' | 'nonce' | 'requestedAt' | 'binding'
>;

/**
 * A login that returned to the callback. Without a `transaction`, the code must not be redeemed, and `loginRequest` may
 * only start a new login: the state is older than ten minutes, or it is bound to another login cookie than the browser has
 * now (`isForeign`), for example because several tabs started a login before there was a cookie. A foreign state may also be
 * that of another user.
 */
export interface ReturnedLogin {
  readonly loginRequest: LoginRequest;
  readonly isForeign: boolean;
  readonly transaction?: LoginTransaction;
}

export interface LoginTransactions {
  /** A new transaction, bound to the browser by a cookie that all its tabs share. Sets that cookie. */
  create(req: Request, res: Response, loginRequest: LoginRequest): LoginTransaction;
  /** The value of that cookie. */
  getBinding(req: Request): string | undefined;
  /**
   * @throws AppError `invalid_state`: missing, repeated, forged, or of another client registration;
   * `temporarily_unavailable`: created by another version of Latchkey, which can still complete this login
   */
  verify(req: Request, state: unknown): ReturnedLogin;
  /**
   * Over http, replaces the login cookie once a login has succeeded. There, another app on this host or a sibling host
   * may have set it; then the value that it knows serves for one login only. Over https, the prefix prevents this.
   */
  replaceCookie(res: Response, finished: LoginTransaction): void;
}

interface StatePayload extends Omit<LoginRequest, 'scope'> {
  readonly v: number;
  readonly binding: string;
  readonly nonce: string;
  readonly scope: string;
  readonly at: number;
}

/** New states are sealed with the first of several secrets; `verify` accepts states sealed with any of them. */
export function createLoginTransactions(
  { cookie, ...source }: Config['session'],
  now: () => number,
): LoginTransactions {
  const cookieName = cookie.loginName;
  const attributes = {
    httpOnly: true,
    path: '/',
    secure: cookie.secure,
    sameSite: 'lax', // `strict` would withhold it from the callback, which comes from the provider's site
  } as const;
  const stateKeys = deriveKeys(source, 'state');
  const verifierKeys = deriveKeys(source, 'code_verifier');

  function readBindingCookie(req: Request): string | undefined {
    const value = readCookie(req, cookieName);
    return value !== undefined && bindingFormat.test(value) ? value : undefined;
  }

  /** The PKCE verifier (RFC 7636). It is never stored, sent only to the token endpoint, and cannot be derived from `state`. */
  function deriveCodeVerifier(key: KeyObject, binding: string, nonce: string): string {
    return createHmac('sha256', key).update(`${binding}.${nonce}`).digest('base64url');
  }

  function setBindingCookie(res: Response, binding: string): void {
    res.cookie(cookieName, binding, { ...attributes, maxAge: stateTtlMs });
  }

  return {
    create(req, res, loginRequest) {
      const binding = readBindingCookie(req) ?? createBinding();
      setBindingCookie(res, binding);
      const nonce = randomBytes(24).toString('base64url');
      const requestedAt = now();
      const { scope } = loginRequest;
      const payload: StatePayload = {
        ...loginRequest,
        v: formatVersion,
        binding,
        nonce,
        scope: scope.join(' '),
        at: requestedAt,
      };
      return {
        ...loginRequest,
        binding,
        state: seal(stateKeys[0]!, JSON.stringify(payload), aad).toString('base64url'),
        codeVerifier: deriveCodeVerifier(verifierKeys[0]!, binding, nonce),
        nonce,
        requestedAt,
      };
    },

    getBinding: readBindingCookie,

    verify(req, state) {
      if (typeof state !== 'string')
        throw new AppError('invalid_state', { cause: new Error('missing or repeated state parameter') });
      for (const [index, key] of stateKeys.entries()) {
        const text = unseal(key, Buffer.from(state, 'base64url'), aad);
        if (text === undefined) continue;
        const { v, binding, nonce, scope, at, ...rest } = JSON.parse(text) as StatePayload; // sealed, so only we can have written it
        if (v !== formatVersion)
          throw storeUnavailable(new Error('state was created by another version of Latchkey'));
        const loginRequest = { ...rest, scope: scope.split(' ') };
        const isForeign = binding !== readBindingCookie(req);
        if (isForeign || now() - at > stateTtlMs) return { loginRequest, isForeign };
        const codeVerifier = deriveCodeVerifier(verifierKeys[index]!, binding, nonce);
        return {
          loginRequest,
          isForeign,
          transaction: { ...loginRequest, state, codeVerifier, nonce, requestedAt: at, binding },
        };
      }
      throw new AppError('invalid_state', {
        cause: new Error(
          'state cannot be decrypted: forged, or created with another SESSION_SECRET, provider or client id',
        ),
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
