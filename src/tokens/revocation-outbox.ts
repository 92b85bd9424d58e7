import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../logger.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { type OAuthError, toOAuthError } from '../oauth/oauth-error.ts';
import type { TokenSet } from '../oauth/token-set.ts';

/** A token to be revoked at the provider (RFC 7009). */
export interface Revocation {
  readonly token: string;
  readonly hint: 'refresh_token' | 'access_token';
  /** When it was queued, epoch milliseconds. */
  readonly since: number;
}

/**
 * Revocations that are queued until the provider accepts them. Any running instance sends them: each token once, unless
 * an instance dies while sending it; with backoff while the provider fails, for a day at most.
 */
export interface RevocationOutbox {
  /** Once this settles, the tokens will be revoked even if this process dies. */
  add(tokens: TokenSet): Promise<void>;
  /** Settles when every due revocation has been attempted once. */
  processDue(): Promise<void>;
  /** The number of queued tokens. */
  pending(): Promise<number>;
  /** Stops the periodic processing; revocations stay queued. */
  close(): void;
}

/** A revocation that has failed for this long is given up. */
export const maxRetryMs = 86_400_000;
const minRetryDelayMs = 1_000;
const maxRetryDelayMs = 60_000;

/** The delay before the next attempt after `attempts` failed ones: a second, doubling up to a minute. */
export function retryDelayMs(attempts: number): number {
  return Math.min(minRetryDelayMs * 2 ** (attempts - 1), maxRetryDelayMs);
}

/** One revocation per token, the refresh token first because it can be used to get new tokens. */
export function toRevocations({ accessToken, refreshToken }: TokenSet, since: number): readonly Revocation[] {
  return [
    ...(refreshToken === undefined ? [] : [{ token: refreshToken, hint: 'refresh_token', since } as const]),
    { token: accessToken, hint: 'access_token', since },
  ];
}

/**
 * Returns `attempt(revocation)`, which calls the revocation endpoint and resolves to true when the revocation is done:
 * accepted, rejected for good, or too old. Until a `Retry-After` of the provider is over, it sends nothing and
 * resolves to false.
 */
export function createRevoker(
  oauth: Pick<OAuthClient, 'revokeToken'>,
  now: () => number,
  log: Logger,
): (revocation: Revocation) => Promise<boolean> {
  let notBefore = 0;
  return async function attempt({ token, hint, since }) {
    if (now() < notBefore) return false;
    try {
      await oauth.revokeToken(token, hint);
      return true;
    } catch (error) {
      const failure = toOAuthError(error);
      if (failure.retryAfterSeconds !== undefined) notBefore = now() + failure.retryAfterSeconds * 1000;
      if (isOrdinary(failure, hint)) {
        log.debug({ err: failure, hint }, 'the provider has nothing to revoke for a token');
        return true;
      }
      const isDone = isFinal(failure) || now() - since > maxRetryMs;
      if (isDone) log.error({ err: failure, hint }, 'giving up on revoking a token');
      else log.warn({ err: failure, hint }, 'token revocation failed; will retry');
      return isDone;
    }
  };
}

/**
 * True for what many providers return at every sign-out: the token is invalid already, for example because its refresh token
 * was revoked before, or the server does not revoke access tokens (RFC 7009 2.2.1).
 */
function isOrdinary({ code }: OAuthError, hint: Revocation['hint']): boolean {
  return code === 'invalid_token' || (code === 'unsupported_token_type' && hint === 'access_token');
}

/** False for a wrong client registration, because the operator will correct it. */
function isFinal({ kind }: OAuthError): boolean {
  return kind === 'rejected_other' || kind === 'invalid_grant' || kind === 'invalid_response';
}

/** Calls `work` about once a second until `signal` aborts, without keeping the process alive. */
export async function runEverySecond(work: () => Promise<void>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await delay(1_000 * (0.75 + Math.random() / 2), undefined, { ref: false, signal }).catch(() => undefined);
    if (!signal.aborted) await work().catch(() => undefined); // store unavailable: the next call tries again
  }
}
