import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { OAuthClient, User } from '../oauth/client.ts';
import { toOAuthError } from '../oauth/oauth-error.ts';
import { isExpired, isFresh, leewayMs, type TokenSet } from '../oauth/token-set.ts';
import type { TokenRecord, TokenStore } from './token-store.ts';

/** A user's tokens from login to logout. Rejects with `AppError` only. */
export interface TokenManager {
  /** The session `id` is logged in with these tokens. */
  establish(id: string, tokens: TokenSet, user: User): Promise<void>;
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
  /** Nobody is logged in under `id`; the tokens, also those of a refresh under way, are revoked at the provider. */
  end(id: string): Promise<TokenRecord | undefined>;
  /** As `end`, for a session that `successor` has replaced by signing in once more in the same browser. */
  supersede(id: string, successor: User): Promise<void>;
  /** Settles when nothing is under way in the background. */
  settled(): Promise<void>;
}

interface TokenManagerParts {
  readonly store: TokenStore;
  readonly oauth: OAuthClient;
  readonly now: () => number;
  readonly log: Logger;
}

/** An access token this close to its end may not survive the way to the API. */
const longestTravelMs = 2_000;
const defaultRetryAfterSeconds = 1;
/** A person who signs out does not wait longer than this for the provider; the revocation itself goes on. */
const longestRevocationWaitMs = 2_000;
const rememberedFailures = 10_000;

export function createTokenManager({ store, oauth, now, log }: TokenManagerParts): TokenManager {
  const renewals = new Map<string, Promise<TokenRecord | undefined>>();
  const failures = new Map<string, { readonly error: AppError; readonly until: number }>();
  const background = new Set<Promise<unknown>>();

  function inBackground(work: Promise<unknown>): void {
    const settled = work.catch(() => undefined).finally(() => background.delete(settled)); // logged where it failed
    background.add(settled);
  }

  /** One refresh per session in this process, one after another across processes (`TokenStore.update`). */
  function renewal(id: string, seen: TokenSet): Promise<TokenRecord | undefined> {
    const underWay = renewals.get(id);
    if (underWay) return underWay;
    const failed = failures.get(id);
    if (failed && now() < failed.until) return Promise.reject(failed.error);
    const begun = store
      .update(id, (newest) => renewed(newest, seen))
      .then((record) => {
        failures.delete(id);
        return record;
      })
      .catch((error: unknown) => {
        const failure = toAppError(error);
        const waitSeconds = failure.retryAfterSeconds ?? defaultRetryAfterSeconds;
        if (failures.size >= rememberedFailures) failures.clear();
        failures.set(id, { error: failure, until: now() + waitSeconds * 1000 });
        throw failure;
      })
      .finally(() => renewals.delete(id));
    renewals.set(id, begun);
    return begun;
  }

  /** The table "what a refresh may end in" of ARCHITECTURE.md: the record to keep, none, or a failure that keeps it. */
  async function renewed(newest: TokenRecord, seen: TokenSet): Promise<TokenRecord | undefined> {
    const isExpiredNow = () => isExpired(newest.tokens, now());
    const wasRenewedMeanwhile = newest.tokens.accessToken !== seen.accessToken;
    if (wasRenewedMeanwhile && isFresh(newest.tokens, now())) return newest;
    if (newest.tokens.refreshToken === undefined) return isExpiredNow() ? undefined : newest;
    try {
      return { ...newest, tokens: await oauth.refreshTokenGrant(newest.tokens) };
    } catch (error) {
      const failure = toOAuthError(error);
      switch (failure.kind) {
        case 'invalid_grant':
          log.info({ err: failure }, 'the provider ended a login: it refuses the refresh token');
          return undefined;
        case 'refused':
          log.warn({ err: failure }, 'the provider refuses a refresh without saying invalid_grant');
          if (isExpiredNow()) return undefined;
          throw failure;
        case 'client':
          log.error({ err: failure }, 'the provider refuses this client: check OAUTH2_CLIENT_ID and _SECRET');
          throw failure;
        default:
          log.warn({ err: failure }, 'a refresh is put off: the provider cannot be asked');
          throw failure;
      }
    }
  }

  /** The refresh token first: it is the one that would make new ones (RFC 7009 2.1). */
  async function revoke({ accessToken, refreshToken }: TokenSet): Promise<void> {
    const report = (error: unknown) =>
      log.warn({ err: error }, 'a token could not be revoked at the provider; it is forgotten here');
    if (refreshToken !== undefined) await oauth.revokeToken(refreshToken, 'refresh_token').catch(report);
    await oauth.revokeToken(accessToken, 'access_token').catch(report);
  }

  return {
    establish: (id, tokens, user) => store.put(id, { tokens, user, signedInAt: now() }),

    async peek(id) {
      const record = await store.get(id);
      return record && isDead(record.tokens, now()) ? undefined : record;
    },

    endsAt: (id) => store.endsAt(id),

    async current(id) {
      const record = await store.get(id, { slide: true });
      if (!record || isFresh(record.tokens, now())) return record;
      const { tokens } = record;
      const travelMs = Math.min(longestTravelMs, leewayMs(tokens) / 2);
      if (!isExpired(tokens, now() + travelMs)) {
        if (tokens.refreshToken !== undefined) inBackground(renewal(id, tokens));
        return record;
      }
      try {
        return await renewal(id, tokens);
      } catch (error) {
        if (!isExpired(tokens, now())) return record; // better late than logged out
        throw error;
      }
    },

    async refresh(id) {
      const record = await store.get(id, { slide: true });
      if (!record || isDead(record.tokens, now())) return undefined;
      if (record.tokens.refreshToken === undefined) throw new AppError('no_refresh_token');
      return renewal(id, record.tokens);
    },

    async end(id) {
      const record = await store.take(id);
      if (!record) return undefined;
      const revocation = revoke(record.tokens);
      inBackground(revocation);
      await Promise.race([revocation, delay(longestRevocationWaitMs, undefined, { ref: false })]);
      return record;
    },

    async supersede(id, successor) {
      const record = await store.take(id);
      // Providers revoke by grant, and the new login of the same person often shares the old one's (decision 3).
      const isAnother = record?.user.sub !== undefined && record.user.sub !== successor.sub;
      if (record && isAnother && successor.sub !== undefined) inBackground(revoke(record.tokens));
    },

    async settled() {
      await Promise.all([
        ...background,
        ...[...renewals.values()].map((each) => each.catch(() => undefined)),
      ]);
    },
  };
}

/** Expired, and nothing to renew it with. */
function isDead(tokens: TokenSet, now: number): boolean {
  return tokens.refreshToken === undefined && isExpired(tokens, now);
}

function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const cause = toOAuthError(error);
  const retryAfterSeconds = cause.retryAfterSeconds ?? defaultRetryAfterSeconds;
  return new AppError('temporarily_unavailable', { cause, retryAfterSeconds });
}
