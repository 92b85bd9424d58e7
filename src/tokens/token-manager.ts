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

/** A user's tokens from login to logout. Rejects with `AppError` only. */
export interface TokenManager {
  /** The session `id` is logged in with these tokens, which a login that `requested` this has brought. */
  establish(id: string, tokens: TokenSet, user: User, requested: LoginRequirements): Promise<void>;
  /** What `current` would start from; asks nobody and does not count as use of the session. */
  peek(id: string): Promise<TokenRecord | undefined>;
  /** When the session ends unless it is used, epoch milliseconds. */
  endsAt(id: string): Promise<number | undefined>;
  /**
   * A record whose access token an API will take, refreshed when its time has come; `undefined` when the session
   * is not logged in (any more). Everyone who asks while a refresh is under way gets the outcome of that one; while
   * the old token is still valid nobody waits for it.
   * @throws AppError `temporarily_unavailable`: expired, and the authorization server cannot be asked now
   */
  current(id: string): Promise<TokenRecord | undefined>;
  /**
   * The record refreshed now, whatever was left of its access token.
   * @throws AppError `no_refresh_token`, `temporarily_unavailable`
   */
  refresh(id: string): Promise<TokenRecord | undefined>;
  /**
   * The record with another access token than `refused`, which an API no longer takes; asked for once however many
   * found out, here or at another instance. The record as it is when there is no way to another token, or when the
   * authorization server gives the same one again.
   * @throws AppError `temporarily_unavailable`
   */
  replaceRefused(id: string, refused: TokenSet): Promise<TokenRecord | undefined>;
  /**
   * Nobody is logged in under `id`, for good; its tokens, also those of a refresh under way, are revoked at the
   * provider: now if it can, else as soon as it can. False when nobody was logged in.
   */
  end(id: string): Promise<boolean>;
  /** As `end`, for a session that `successor` has replaced by signing in once more in the same browser. */
  supersede(id: string, successor: User): Promise<void>;
  /** Nobody comes to be logged in under `id`; the tokens that were meant for it are revoked, when given. */
  discard(id: string, tokens: TokenSet | undefined): Promise<void>;
  /** Settles when nothing is under way in the background. */
  drain(): Promise<void>;
}

interface TokenManagerParts {
  readonly store: TokenStore;
  readonly oauth: OAuthClient;
  readonly outbox: RevocationOutbox;
  readonly now: () => number;
  readonly log: Logger;
}

/** An access token this close to its end may not survive the way to the API. */
const expirySafetyMarginMs = 2_000;
/** How long a session waits after a failure for which the server named no time. */
const pauseSeconds: Partial<Record<OAuthErrorKind, number>> = {
  outcome_unknown: 3,
  client_misconfigured: 5,
  rejected_other: 30,
};
/** A refresh that was held up begins anew this often. */
const maxAttempts = 3;
/** A person who signs out does not wait longer than this for the provider; the revocation itself goes on. */
const maxRevocationWaitMs = 2_000;

export function createTokenManager({ store, oauth, outbox, now, log }: TokenManagerParts): TokenManager {
  const refreshes = new Map<string, Promise<TokenRecord | undefined>>();
  const background = new Set<Promise<unknown>>();

  function inBackground(work: Promise<unknown>): void {
    const settled = work.catch(() => undefined).finally(() => background.delete(settled)); // logged where it failed
    background.add(settled);
  }

  /** One refresh per session in this process, one after another across processes (`TokenStore.update`). */
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
    // Signed out while the provider was asked: what it gave must not outlive the session.
    const refused = ({ tokens }: TokenRecord) => inBackground(revoke(tokens));
    for (let attempts = 0; ; attempts += 1) {
      try {
        return await store.update(id, change, refused);
      } catch (error) {
        // This process was held up; what another did meanwhile is observed by reading anew.
        if (!(error instanceof LeaseLostError)) throw error;
        if (attempts === maxAttempts) throw storeUnavailable(error);
      }
    }
  }

  /** The table "what a refresh may end in" of ARCHITECTURE.md: the record to keep, none, or a failure that keeps it. */
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
      if (failure.kind === 'invalid_grant') {
        log.info({ err: failure }, 'the provider ended a login: it refuses the refresh token');
        return undefined;
      }
      // A token whose end was not said is good until an API says that it is not.
      const hasExpired = isExpiredNow() || (isRefused && newest.tokens.expiresAt === undefined);
      if (failure.kind === 'rejected_other' && hasExpired) {
        log.warn({ err: failure }, 'the provider ended a login without saying invalid_grant');
        return undefined;
      }
      if (failure.kind === 'client_misconfigured')
        log.error({ err: failure }, 'the provider refuses this client: check OAUTH2_CLIENT_ID and _SECRET');
      else log.warn({ err: failure, kind: failure.kind }, 'a refresh is put off, and the login stands');
      throw toRetryLaterError(failure, newest.tokens);
    }
  }

  /** For how long nobody asks again for this session. */
  function toRetryLaterError(failure: OAuthError, { expiresAt = 0 }: TokenSet): AppError {
    const untilExpirySeconds = Math.max(1, (expiresAt - now()) / 1000);
    const seconds = failure.retryAfterSeconds ?? pauseSeconds[failure.kind] ?? 1;
    // A final no ends the login when the token is over; that moment must not be missed.
    const isRejection = failure.kind === 'rejected_other';
    const retryAfterSeconds = Math.ceil(isRejection ? Math.min(seconds, untilExpirySeconds) : seconds);
    return new AppError('temporarily_unavailable', { cause: failure, retryAfterSeconds });
  }

  /** For tokens nobody waits for; they end by themselves should the outbox be out of reach. */
  async function revoke(tokens: TokenSet): Promise<void> {
    try {
      await outbox.add(tokens);
    } catch (error) {
      log.error({ err: error }, 'tokens could not be written down for revocation');
      return;
    }
    await processOutbox();
  }

  /** The provider is asked at once, and a person who signs out waits a little for it; the outbox sees to the rest. */
  async function processOutbox(): Promise<void> {
    const work = outbox.processDue().catch((error: unknown) => {
      log.warn({ err: error }, 'a revocation waits in the outbox');
    });
    inBackground(work);
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
      const record = await store.get(id, { slide: true });
      if (!record || isFresh(record.tokens, now())) return record;
      const { tokens } = record;
      const safetyMarginMs = Math.min(expirySafetyMarginMs, refreshWindowMs(tokens) / 2);
      if (!isExpired(tokens, now() + safetyMarginMs)) {
        if (tokens.refreshToken !== undefined) inBackground(refreshOnce(id, tokens));
        return record;
      }
      try {
        return await refreshOnce(id, tokens);
      } catch (error) {
        if (!isExpired(tokens, now())) return record; // better late than logged out
        throw error;
      }
    },

    async refresh(id) {
      const record = await store.get(id, { slide: true });
      if (!record || isExpiredAndUnrefreshable(record.tokens, now())) return undefined;
      if (record.tokens.refreshToken === undefined) throw new AppError('no_refresh_token');
      return refreshOnce(id, record.tokens);
    },

    replaceRefused: (id, refused) => refreshOnce(id, refused, true),

    async end(id) {
      const record = await store.get(id);
      // Written down before anything is removed: a process that dies in between leaves no token nobody knows of.
      if (record) await outbox.add(record.tokens);
      const taken = await store.take(id);
      if (taken && taken.tokens.accessToken !== record?.tokens.accessToken) await outbox.add(taken.tokens);
      if (!record && !taken) return false;
      await processOutbox();
      return true;
    },

    async supersede(id, successor) {
      const record = await store.take(id);
      // Providers revoke by grant, and the new login of the same person often shares the old one's (decision 3).
      const isDifferentUser = record?.user.sub !== undefined && record.user.sub !== successor.sub;
      if (record && isDifferentUser && successor.sub !== undefined) inBackground(revoke(record.tokens));
    },

    async discard(id, tokens) {
      if (tokens) inBackground(revoke(tokens));
      await store.take(id).catch((error: unknown) => {
        log.warn({ err: error }, 'a login that came to nothing could not be cleared away');
      });
    },

    async drain() {
      while (background.size > 0 || refreshes.size > 0)
        await Promise.allSettled([...background, ...refreshes.values()]);
    },
  };
}

/** Expired, and nothing to renew it with. */
function isExpiredAndUnrefreshable(tokens: TokenSet, now: number): boolean {
  return tokens.refreshToken === undefined && isExpired(tokens, now);
}
