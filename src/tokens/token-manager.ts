import { setTimeout as delay } from 'node:timers/promises';
import { AppError, storeUnavailable } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { LoginRequirements } from '../oauth/login-requirements.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { type OAuthError, type OAuthErrorKind, toOAuthError } from '../oauth/oauth-error.ts';
import { isExpired, isFresh, refreshWindowMs, type TokenSet } from '../oauth/token-set.ts';
import type { User } from '../oauth/userinfo.ts';
import type { RevocationOutbox } from './revocation-outbox.ts';
import { type Change, LeaseLostError, type TokenRecord, type TokenStore } from './token-store.ts';

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
  /** Rolls back an incomplete login: ends the session `id` and revokes `tokens`, if given. */
  discard(id: string, tokens: TokenSet | undefined): Promise<void>;
  /** Settles when no background work is in progress. */
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
/** How long refreshes of a session pause after a failure when the server sent no `Retry-After`. */
const defaultRetryAfterSeconds: Partial<Record<OAuthErrorKind, number>> = {
  outcome_unknown: 3,
  client_misconfigured: 5,
  rejected_other: 30,
};
const maxRestarts = 3; // of a refresh that lost its lease
/** A sign-out waits no longer than this for the provider; the revocation itself continues. */
const maxRevocationWaitMs = 2_000;

/** A manager whose records are in `store` and whose revocations go through `outbox`. */
export function createTokenManager({ store, oauth, outbox, now, log }: TokenManagerParts): TokenManager {
  const refreshes = new Map<string, Promise<TokenRecord | undefined>>();
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
      decideRefresh(newest, observed, isRefused, confirmAndExtend);
    for (let restarts = 0; ; restarts += 1) {
      try {
        // If the session ends during the refresh, the new tokens must not outlive it.
        return await store.update(id, change, ({ tokens }) => runInBackground(revoke(tokens)));
      } catch (error) {
        // This process was paused; re-reading the record shows what another instance did meanwhile.
        if (!(error instanceof LeaseLostError)) throw error;
        if (restarts === maxRestarts) throw storeUnavailable(error);
      }
    }
  }

  /** The refresh table in ARCHITECTURE.md: returns the record to store or none, or throws to keep the old record. */
  async function decideRefresh(
    newest: TokenRecord,
    observed: TokenSet,
    isRefused: boolean,
    confirmAndExtend: () => Promise<void>,
  ): Promise<TokenRecord | undefined> {
    const isExpiredNow = () => isExpired(newest.tokens, now());
    const wasRefreshedMeanwhile = newest.tokens.accessToken !== observed.accessToken;
    if (wasRefreshedMeanwhile && isFresh(newest.tokens, now())) return newest;
    if (newest.tokens.refreshToken === undefined) return isExpiredNow() ? undefined : newest;
    try {
      const tokens = await oauth.refreshTokenGrant(newest.tokens, confirmAndExtend);
      return { ...newest, tokens, ...(isRefused && { replacedAt: now() }) };
    } catch (error) {
      if (error instanceof LeaseLostError || error instanceof AppError) throw error; // nothing was sent
      const failure = toOAuthError(error);
      const { kind } = failure;
      if (kind === 'invalid_grant') {
        log.info({ err: failure }, 'session ended: the provider rejected the refresh token (invalid_grant)');
        return undefined;
      }
      // A token without a stated lifetime is valid until an API rejects it.
      const hasExpired = isExpiredNow() || (isRefused && newest.tokens.expiresAt === undefined);
      if (kind === 'rejected_other' && hasExpired) {
        log.warn(
          { err: failure },
          'session ended: the provider rejected the refresh token with a non-standard error',
        );
        return undefined;
      }
      if (kind === 'client_misconfigured')
        log.error(
          { err: failure },
          'the provider rejected our client credentials: check OAUTH2_CLIENT_ID and OAUTH2_CLIENT_SECRET',
        );
      else log.warn({ err: failure, kind }, 'token refresh failed; keeping the session and retrying later');
      throw toRetryLaterError(failure, newest.tokens);
    }
  }

  /** The error that defers refreshes of this session, on every instance, by its `retryAfterSeconds`. */
  function toRetryLaterError(failure: OAuthError, { expiresAt = 0 }: TokenSet): AppError {
    const untilExpirySeconds = Math.max(1, (expiresAt - now()) / 1000);
    const seconds = failure.retryAfterSeconds ?? defaultRetryAfterSeconds[failure.kind] ?? 1;
    // After a final rejection the session ends when the token expires; the pause must not outlast that moment.
    const isFinalRejection = failure.kind === 'rejected_other';
    const retryAfterSeconds = Math.ceil(isFinalRejection ? Math.min(seconds, untilExpirySeconds) : seconds);
    return new AppError('temporarily_unavailable', { cause: failure, retryAfterSeconds });
  }

  /** Revokes tokens that no caller waits for; if the outbox is unavailable, they stay valid until they expire. */
  async function revoke(tokens: TokenSet): Promise<void> {
    try {
      await outbox.add(tokens);
    } catch (error) {
      log.error({ err: error }, 'failed to queue tokens for revocation; they stay valid until they expire');
      return;
    }
    await processOutbox();
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
      const record = await store.get(id);
      // Queued before the record is removed: if the process dies in between, no valid token is forgotten.
      if (record) await outbox.add(record.tokens);
      const taken = await store.take(id);
      if (taken && taken.tokens.accessToken !== record?.tokens.accessToken) await outbox.add(taken.tokens);
      if (!record && !taken) return false;
      await processOutbox();
      return true;
    },

    async supersede(id, successor) {
      const record = await store.take(id);
      // Providers revoke by grant, and a new login of the same user often shares the old one's grant (decision 3).
      const isDifferentUser = record?.user.sub !== undefined && record.user.sub !== successor.sub;
      if (record && isDifferentUser && successor.sub !== undefined) runInBackground(revoke(record.tokens));
    },

    async discard(id, tokens) {
      if (tokens) runInBackground(revoke(tokens));
      await store.take(id).catch((error: unknown) => {
        log.warn({ err: error }, 'failed to clean up after an incomplete login');
      });
    },

    async drain() {
      while (background.size > 0 || refreshes.size > 0)
        await Promise.allSettled([...background, ...refreshes.values()]);
    },
  };
}

/** True when the access token has expired and there is no refresh token. */
function isExpiredAndUnrefreshable(tokens: TokenSet, now: number): boolean {
  return tokens.refreshToken === undefined && isExpired(tokens, now);
}
