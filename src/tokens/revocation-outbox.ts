import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../logger.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { type OAuthError, toOAuthError } from '../oauth/oauth-error.ts';
import type { TokenSet } from '../oauth/token-set.ts';

/** A token that has to be revoked at the provider (RFC 7009). */
export interface Revocation {
  readonly token: string;
  readonly hint: 'refresh_token' | 'access_token';
  /** Since when, epoch milliseconds. */
  readonly since: number;
}

/**
 * Where revocations wait until the provider has taken them. What is in here is revoked by whichever instance is alive,
 * each token once unless an instance dies at it, with backoff while the provider cannot, for a day at most.
 */
export interface RevocationOutbox {
  /** The tokens will be revoked, whatever happens to this process from now on. */
  add(tokens: TokenSet): Promise<void>;
  /** Settles when everything that is due has been tried once. */
  processDue(): Promise<void>;
  /** How many tokens wait. */
  pending(): Promise<number>;
  /** Lets go of what `work` needs; what waits goes on queued. */
  close(): void;
}

export const maxRetryMs = 86_400_000;
const firstPauseMs = 1_000;
const maxPauseMs = 60_000;

/** How long a revocation that failed `attempts` times waits for the next one: doubling, up to a minute. */
export function pauseMs(attempts: number): number {
  return Math.min(firstPauseMs * 2 ** (attempts - 1), maxPauseMs);
}

/** The refresh token first: it is the one that would make new ones. */
export function revocationsOf({ accessToken, refreshToken }: TokenSet, since: number): readonly Revocation[] {
  return [
    ...(refreshToken === undefined ? [] : [{ token: refreshToken, hint: 'refresh_token', since } as const]),
    { token: accessToken, hint: 'access_token', since },
  ];
}

/**
 * `attempt(revocation)`: true when there is nothing more to do for it: revoked, refused for good, or too old. While the
 * provider has asked for time (`Retry-After`), nothing is sent and the answer is false.
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
      const isDone = isFinal(failure) || now() - since > maxRetryMs;
      if (isDone) log.error({ err: failure, hint }, 'a token could not be revoked, and is given up');
      else log.warn({ err: failure, hint }, 'a revocation is put off: the provider cannot take it');
      return isDone;
    }
  };
}

/** A wrong client registration is for the operator to mend, so it is not final. */
function isFinal({ kind }: OAuthError): boolean {
  return kind === 'rejected_other' || kind === 'invalid_grant' || kind === 'invalid_response';
}

/** Does `work` about once a second until `signal`, without keeping the process alive for it. */
export async function runEverySecond(work: () => Promise<void>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await delay(1_000 * (0.75 + Math.random() / 2), undefined, { ref: false, signal }).catch(() => undefined);
    if (!signal.aborted) await work().catch(() => undefined); // the store is away: the next round tries again
  }
}
