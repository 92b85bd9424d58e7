import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Audit } from '../audit/audit-log.ts';
import { createCircuitBreaker } from '../circuit-breaker.ts';
import type { Logger } from '../logger.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { type OAuthError, toOAuthError } from '../oauth/oauth-error.ts';
import type { TokenSet } from '../oauth/token-set.ts';
import { elapsedMs } from '../time/elapsed.ts';

/** A token to be revoked at the provider (RFC 7009). */
export interface Revocation {
  readonly token: string;
  readonly hint: 'refresh_token' | 'access_token';
  /** The same for all tokens of a session; they are revoked in their order. */
  readonly group: string;
  /** When it was queued, epoch milliseconds. */
  readonly since: number;
}

/**
 * Revocations that are queued until the provider accepts them. Any running instance sends them: each token once, unless
 * an instance dies while sending it; with backoff while the provider fails, for a day at most. Sessions do not wait for
 * one another: ten revocations run at once, not counting those that have got no response for two seconds.
 */
export interface RevocationOutbox {
  /** Once this settles, the tokens will be revoked even if this process dies. */
  add(tokens: TokenSet): Promise<void>;
  /** Settles when every revocation that nobody has attempted yet has been attempted once. */
  processNew(): Promise<void>;
  /** Settles when every due revocation has been attempted once. */
  processDue(): Promise<void>;
  /** The number of queued tokens. */
  pending(): Promise<number>;
  /** Stops the periodic processing; revocations stay queued. */
  close(): void;
}

/** For `createFairQueue`: how many revocations an instance sends at once, first attempts and repeated ones separately. */
export const revocationSlots = {
  maxConcurrent: 10,
  slotMs: 2_000,
  maxConcurrentPerCaller: Number.POSITIVE_INFINITY,
  maxQueued: Number.POSITIVE_INFINITY,
  maxQueuedPerCaller: Number.POSITIVE_INFINITY,
} as const;

/** A revocation that has failed for this long is given up. */
export const maxRetryMs = 86_400_000;
const minRetryDelayMs = 1_000;
const maxRetryDelayMs = 60_000;
const maxWorkMs = 2_000;

/** The delay before the next attempt after `attempts` failed ones: a second, doubling up to a minute. */
export function retryDelayMs(attempts: number): number {
  return Math.min(minRetryDelayMs * 2 ** (attempts - 1), maxRetryDelayMs);
}

/** One revocation per token, the refresh token first because it can be used to get new tokens. */
export function toRevocations({ accessToken, refreshToken }: TokenSet, since: number): readonly Revocation[] {
  const shared = { group: randomUUID(), since };
  return [
    ...(refreshToken === undefined
      ? []
      : [{ token: refreshToken, hint: 'refresh_token', ...shared } as const]),
    { token: accessToken, hint: 'access_token', ...shared },
  ];
}

interface RevokerParts {
  readonly now: () => number;
  /** As `elapsedMs`. */
  readonly elapsed?: () => number;
  readonly log: Logger;
  readonly audit: Audit;
  /** Called when revocations of all sessions begin or cease to wait for a `Retry-After`. */
  readonly onBreakerChange?: (isOpen: boolean) => void;
}

/**
 * Returns `attempt(revocation)`, which calls the revocation endpoint and resolves to true when the revocation is done:
 * accepted, rejected for good, or too old. Until a `Retry-After` of the provider is over, it sends nothing for that
 * session and resolves to false; for no session, except for a probe, when ten sessions in a row got one.
 */
export function createRevoker(
  oauth: Pick<OAuthClient, 'revokeToken'>,
  { now, elapsed = elapsedMs, log, audit, onBreakerChange = () => {} }: RevokerParts,
): (revocation: Revocation) => Promise<boolean> {
  const waits = createWaits(elapsed, onBreakerChange);
  return async function attempt({ token, hint, group, since }) {
    if (!waits.mayCall(group)) return false;
    try {
      await oauth.revokeToken(token, hint);
      waits.recordSuccess();
      audit.record('revocation_done', { reason: hint });
      return true;
    } catch (error) {
      const failure = toOAuthError(error);
      if (failure.retryAfterSeconds !== undefined) waits.recordRetryAfter(group, failure.retryAfterSeconds);
      if (isOrdinary(failure, hint)) {
        log.debug({ err: failure, hint }, 'the provider has nothing to revoke for a token');
        audit.record('revocation_done', { reason: hint });
        return true;
      }
      const isDone = isFinal(failure) || now() - since > maxRetryMs;
      if (isDone) {
        log.error({ err: failure, hint }, 'giving up on revoking a token');
        audit.record('revocation_abandoned', { reason: failure.kind });
      } else log.warn({ err: failure, hint }, 'token revocation failed; will retry');
      return isDone;
    }
  };
}

/** Who has to wait for a `Retry-After`. */
function createWaits(now: () => number, onChange: (isOpen: boolean) => void) {
  const notBefore = new Map<string, number>(); // by group
  const breaker = createCircuitBreaker({ now, onChange });

  return {
    mayCall(group: string): boolean {
      if (now() < (notBefore.get(group) ?? 0)) return false;
      return breaker.admit({ name: group, isUser: false }) !== 'refused';
    },

    recordSuccess: breaker.recordSuccess,

    recordRetryAfter(group: string, retryAfterSeconds: number): void {
      for (const [each, until] of notBefore) if (until <= now()) notBefore.delete(each);
      notBefore.set(group, now() + retryAfterSeconds * 1000);
      breaker.recordFailure({ name: group, isUser: false });
    },
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

/**
 * Calls `work` about once a second until `signal` aborts, without keeping the process alive. It does not wait longer than
 * two seconds for `work`, a part of which may be stuck.
 */
export async function runEverySecond(work: () => Promise<void>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await delay(1_000 * (0.75 + Math.random() / 2), undefined, { ref: false, signal }).catch(() => undefined);
    if (signal.aborted) return;
    const done = work().catch(() => undefined); // store unavailable: the next call tries again
    await Promise.race([done, delay(maxWorkMs, undefined, { ref: false })]);
  }
}
