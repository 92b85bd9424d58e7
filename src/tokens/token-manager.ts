import { setTimeout as delay } from 'node:timers/promises';
import { AppError, storeUnavailable } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { LoginRequirements } from '../oauth/login-requirements.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { isExpired, isFresh, refreshWindowMs, type TokenSet } from '../oauth/token-set.ts';
import type { User } from '../oauth/userinfo.ts';
import { createRefreshDecision } from './refresh-decision.ts';
import { type RevocationOutbox, retryDelayMs } from './revocation-outbox.ts';
import {
  type Change,
  LeaseLostError,
  type SessionEndReason,
  type TokenRecord,
  type TokenStore,
} from './token-store.ts';

/** The users' tokens from login to logout. Every method rejects only with `AppError`. */
export interface TokenManager {
  /** The session `id` is signed in with the tokens that a login received; `requested` is what that login requested. */
  establish(id: string, tokens: TokenSet, user: User, requested: LoginRequirements): Promise<void>;
  /** Reads the record without refreshing it or extending the session. */
  peek(id: string): Promise<TokenRecord | undefined>;
  /** When the session ends unless it is used, epoch milliseconds. */
  endsAt(id: string): Promise<number | undefined>;
  /**
   * A record whose access token an API will accept, refreshed if necessary; `undefined` when the session is not (or no
   * longer) signed in. All callers share a refresh in progress, and wait for it only if the old token has expired.
   * @throws AppError `temporarily_unavailable`: the token has expired and cannot be refreshed now
   */
  current(id: string): Promise<TokenRecord | undefined>;
  /**
   * The record after a refresh, even if its access token was still valid.
   * @throws AppError `no_refresh_token`, `temporarily_unavailable`
   */
  refresh(id: string): Promise<TokenRecord | undefined>;
  /**
   * The record with another access token than `refused`, which an API has rejected; callers on all instances share one
   * refresh. The record is unchanged when there is no refresh token, or when the server issues the same token again.
   * @throws AppError `temporarily_unavailable`
   */
  replaceRefused(id: string, refused: TokenSet): Promise<TokenRecord | undefined>;
  /**
   * Ends the session `id` for good and revokes its tokens, including those of a refresh in progress, at the provider:
   * now if possible, otherwise as soon as the provider can. False when no user was signed in.
   */
  end(id: string): Promise<boolean>;
  /** Ends the session that a login of `successor` in the same browser replaced; revokes only another user's tokens. */
  supersede(id: string, successor: User): Promise<void>;
  /**
   * Rolls back an incomplete login: ends the session `id`. Its tokens are dropped without being revoked: the user will
   * sign in again, and a revocation could end the tokens of that login too (decision 3).
   */
  discard(id: string): Promise<void>;
  /** Settles when no work is in progress and all granted tokens are stored. */
  drain(): Promise<void>;
}

interface TokenManagerParts {
  readonly store: TokenStore;
  readonly oauth: OAuthClient;
  readonly outbox: RevocationOutbox;
  readonly now: () => number;
  readonly log: Logger;
}

/** An access token with less lifetime left than this may expire on its way to the API. */
const expirySafetyMarginMs = 2_000;
const maxRestarts = 3; // of a refresh that lost its lease
/** For about an hour, tokens that have to be revoked are offered to an outbox that is unavailable. */
const maxQueueAttempts = 65;
/** A sign-out waits no longer than this for the provider; the revocation itself continues. */
const maxRevocationWaitMs = 2_000;

/** A manager whose records are in `store` and whose revocations go through `outbox`. */
export function createTokenManager({ store, oauth, outbox, now, log }: TokenManagerParts): TokenManager {
  const decideRefresh = createRefreshDecision({ oauth, now, log });
  const refreshes = new Map<string, Promise<TokenRecord | undefined>>();
  const takes = new Map<string, Promise<TokenRecord | undefined>>();
  const background = new Set<Promise<unknown>>();

  function runInBackground(work: Promise<unknown>): void {
    const settled = work.catch(() => undefined).finally(() => background.delete(settled)); // it was logged
    background.add(settled);
  }

  /** One refresh of a session at a time: callers in this process share it, `TokenStore.update` serializes processes. */
  function refreshOnce(id: string, observed: TokenSet, isRefused = false): Promise<TokenRecord | undefined> {
    const pending = refreshes.get(id);
    if (pending) return pending;
    const started = refreshUnderLease(id, observed, isRefused).finally(() => refreshes.delete(id));
    refreshes.set(id, started);
    return started;
  }

  async function refreshUnderLease(
    id: string,
    observed: TokenSet,
    isRefused: boolean,
  ): Promise<TokenRecord | undefined> {
    const change: Change = (newest, confirmAndExtend) =>
      decideRefresh(newest, { observed, isRefused, confirmAndExtend });
    for (let restarts = 0; ; restarts += 1) {
      try {
        return await store.update(id, change, (discarded, reason) => {
          if (isToBeRevoked(discarded, reason)) runInBackground(revoke(discarded.tokens));
        });
      } catch (error) {
        // This process was paused; re-reading the record shows what another instance did meanwhile.
        if (!(error instanceof LeaseLostError)) throw error;
        if (restarts === maxRestarts) throw storeUnavailable(error);
      }
    }
  }

  /** Revokes tokens that no caller waits for, and that are stored nowhere. */
  async function revoke(tokens: TokenSet): Promise<void> {
    for (let attempts = 1; ; attempts += 1) {
      try {
        await outbox.add(tokens);
        break;
      } catch (error) {
        if (attempts === 1) log.warn({ err: error }, 'failed to queue tokens for revocation; will retry');
        if (attempts === maxQueueAttempts) {
          log.error(
            { err: error },
            'failed to queue tokens for revocation; they stay valid until they expire',
          );
          return;
        }
        await delay(retryDelayMs(attempts), undefined, { ref: false });
      }
    }
    await processOutbox();
  }

  /**
   * Ends a session. Its tokens are queued before the record is removed, so that no failure in between forgets them, and
   * queued once when two requests end it for the same reason (a double click).
   */
  function takeAndQueue(id: string, reason: SessionEndReason): Promise<TokenRecord | undefined> {
    const key = JSON.stringify([id, reason]);
    const pending = takes.get(key);
    if (pending) return pending;
    const queue = async (record: TokenRecord) => {
      if (isToBeRevoked(record, reason)) await outbox.add(record.tokens);
    };
    const started = store.take(id, reason, queue).finally(() => takes.delete(key));
    takes.set(key, started);
    return started;
  }

  /** Sends the revocations at once, which a sign-out waits for briefly; the outbox retries those that fail. */
  async function processOutbox(): Promise<void> {
    const work = outbox.processDue().catch((error: unknown) => {
      log.warn({ err: error }, 'processing the revocation outbox failed; entries remain queued');
    });
    runInBackground(work);
    await Promise.race([work, delay(maxRevocationWaitMs, undefined, { ref: false })]);
  }

  return {
    establish: (id, tokens, user, requested) => store.put(id, { tokens, user, signedInAt: now(), requested }),

    async peek(id) {
      const record = await store.get(id);
      return record && isExpiredAndUnrefreshable(record.tokens, now()) ? undefined : record;
    },

    endsAt: (id) => store.endsAt(id),

    async current(id) {
      const record = await store.get(id, { touch: true });
      if (!record || isFresh(record.tokens, now())) return record;
      const { tokens } = record;
      const safetyMarginMs = Math.min(expirySafetyMarginMs, refreshWindowMs(tokens) / 2);
      if (!isExpired(tokens, now() + safetyMarginMs)) {
        if (tokens.refreshToken !== undefined) runInBackground(refreshOnce(id, tokens));
        return record;
      }
      try {
        return await refreshOnce(id, tokens);
      } catch (error) {
        if (!isExpired(tokens, now())) return record; // a token about to expire is better than none
        throw error;
      }
    },

    async refresh(id) {
      const record = await store.get(id, { touch: true });
      if (!record || isExpiredAndUnrefreshable(record.tokens, now())) return undefined;
      if (record.tokens.refreshToken === undefined) throw new AppError('no_refresh_token');
      return refreshOnce(id, record.tokens);
    },

    replaceRefused: (id, refused) => refreshOnce(id, refused, true),

    async end(id) {
      if (!(await takeAndQueue(id, { kind: 'signed_out' }))) return false;
      await processOutbox();
      return true;
    },

    async supersede(id, successor) {
      const record = await takeAndQueue(id, { kind: 'superseded', successor: successor.sub });
      if (record) runInBackground(processOutbox());
    },

    async discard(id) {
      await store.take(id, { kind: 'signed_out' }).catch((error: unknown) => {
        log.warn({ err: error }, 'failed to clean up after an incomplete login');
      });
    },

    async drain() {
      do {
        await Promise.allSettled([...background, ...refreshes.values()]);
        await store.drain(); // what a refresh could not write yet
      } while (background.size > 0 || refreshes.size > 0);
    },
  };
}

/**
 * Whether the tokens of a session that ended must not outlive it. Providers revoke by grant, and a new login of the
 * same user often shares the grant of the old one (decision 3). Those of an expired session expire on their own.
 */
function isToBeRevoked({ user }: TokenRecord, reason: SessionEndReason | undefined): boolean {
  if (reason?.kind !== 'superseded') return reason !== undefined;
  return user.sub !== undefined && reason.successor !== undefined && user.sub !== reason.successor;
}

/** True when the access token has expired and there is no refresh token. */
function isExpiredAndUnrefreshable(tokens: TokenSet, now: number): boolean {
  return tokens.refreshToken === undefined && isExpired(tokens, now);
}
