import { createHmac, type KeyObject, randomBytes } from 'node:crypto';
import type { Request, Response } from 'express';
import type { Config } from '../config/load.ts';
import { deriveKeys, formatVersion, seal, unseal } from '../crypto/sealing.ts';
import { AppError, storeUnavailable } from '../errors.ts';
import type { AuthorizationRequest } from '../oauth/login-requirements.ts';
import { createLoginCookie, type LastLoginEvent, loginTtlMs } from './login-cookie.ts';

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
  /** Why the next login of this browser needs a click, according to that cookie. */
  getLastEvent(req: Request): LastLoginEvent | undefined;
  /**
   * @throws AppError `invalid_state`: missing, repeated, forged, or of another client registration;
   * `temporarily_unavailable`: created by another version of Latchkey, which can still complete this login
   */
  verify(req: Request, state: unknown): ReturnedLogin;
  /**
   * Notes in the login cookie that this login has succeeded. Over http, also replaces its value. There, another app on this
   * host or a sibling host may have set it; then the value that it knows serves for one login only. Over https, the prefix
   * prevents this.
   */
  noteSignIn(res: Response, finished: LoginTransaction): void;
  /** Notes in the login cookie that the user has signed out. */
  noteSignOut(req: Request, res: Response): void;
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
  const loginCookie = createLoginCookie({ cookie }, now);
  const stateKeys = deriveKeys(source, 'state');
  const verifierKeys = deriveKeys(source, 'code_verifier');

  /** The PKCE verifier (RFC 7636). It is never stored, sent only to the token endpoint, and cannot be derived from `state`. */
  function deriveCodeVerifier(key: KeyObject, binding: string, nonce: string): string {
    return createHmac('sha256', key).update(`${binding}.${nonce}`).digest('base64url');
  }

  return {
    create(req, res, loginRequest) {
      const binding = loginCookie.readBinding(req) ?? createBinding();
      loginCookie.setBegun(res, binding);
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

    getBinding: loginCookie.readBinding,
    getLastEvent: loginCookie.readLastEvent,

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
        const isForeign = binding !== loginCookie.readBinding(req);
        if (isForeign || now() - at > loginTtlMs) return { loginRequest, isForeign };
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

    noteSignIn(res, { restarts, binding }) {
      // After a restart the value stays: other tabs may be on their only restart, which a new value would make fail.
      loginCookie.setSignedIn(res, !cookie.secure && restarts === 0 ? createBinding() : binding);
    },

    noteSignOut(req, res) {
      loginCookie.setSignedOut(res, loginCookie.readBinding(req) ?? createBinding());
    },
  };
}

function createBinding(): string {
  return randomBytes(32).toString('base64url');
}
