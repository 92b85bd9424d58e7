import type { Audit } from '../audit/audit-log.ts';
import type { ClaimCheck } from '../claims/claim-check.ts';
import { AppError, storeUnavailable } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { LoginRequirements } from '../oauth/login-requirements.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { isExpired, isFresh, refreshWindowMs, type TokenSet } from '../oauth/token-set.ts';
import type { LoginGrant } from '../oauth/userinfo.ts';
import type { SessionIndex } from './indexed-sessions.ts';
import { createRefreshDecision } from './refresh-decision.ts';
import type { RevocationOutbox } from './revocation-outbox.ts';
import { createSessionEnding, isToBeRevoked, type SessionEnding } from './session-ending.ts';
import { createSessionList, type SessionList } from './session-list.ts';
import { type Change, claimsOf, LeaseLostError, type TokenRecord, type TokenStore } from './token-store.ts';

/** The users' tokens from login to logout. Every method rejects only with `AppError`. */
export interface TokenManager
  extends Omit<SessionEnding, 'revoke' | 'takeBy' | 'processOutbox'>,
    SessionList {
  /** The session `id` is signed in with what a login was granted; `requested` is what that login requested. */
  establish(
    id: string,
    grant: LoginGrant,
    requested: LoginRequirements,
    browser?: Pick<TokenRecord, 'userAgent' | 'replacedId'>,
  ): Promise<void>;
  /** Revokes the tokens of a login that has been refused. The response does not wait for it. */
  discardGrant(tokens: TokenSet): void;
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
   * The record after a refresh, even if its access token was still valid; without another refresh if the last one was a
   * moment ago, so that no session can make the provider limit our requests.
   * @throws AppError `no_refresh_token`, `temporarily_unavailable`
   */
  refresh(id: string): Promise<TokenRecord | undefined>;
  /**
   * The record with another access token than `refused`, which an API has rejected; callers on all instances share one
   * refresh. The record is unchanged when there is no refresh token, or when the server issues the same token again.
   * @throws AppError `temporarily_unavailable`
   */
  replaceRefused(id: string, refused: TokenSet): Promise<TokenRecord | undefined>;
  /** Settles when no work is in progress and all granted tokens are stored. */
  drain(): Promise<void>;
}

interface TokenManagerParts {
  readonly store: TokenStore;
  readonly index: SessionIndex;
  /** As SESSION_MAX_PER_USER; 0 means no limit. */
  readonly maxSessionsPerUser: number;
  readonly oauth: OAuthClient;
  readonly outbox: RevocationOutbox;
  readonly now: () => number;
  readonly log: Logger;
  readonly metrics?: Pick<Metrics, 'sharedRefreshes'>;
  readonly audit: Audit;
  /** Why a user with these claims may not be signed in (LOGIN_ALLOWED); `undefined` if they may. */
  readonly findLoginRefusal?: ClaimCheck | undefined;
}

/** An access token with less lifetime left than this may expire on its way to the API. */
const expirySafetyMarginMs = 2_000;
/** A session is not refreshed again on request before this time has passed since the last refresh. */
const minRequestedRefreshMs = 5_000;
/** How much of a `User-Agent` is stored with each session. */
const maxUserAgentLength = 256;
const maxRestarts = 3; // of a refresh that lost its lease

/** A manager whose records are in `store` and whose revocations go through `outbox`. */
export function createTokenManager(parts: TokenManagerParts): TokenManager {
  const { store, index, maxSessionsPerUser, oauth, outbox, now, log, audit, metrics } = parts;
  const sharedHere = metrics?.sharedRefreshes({ with: 'process' });
  const sharedElsewhere = metrics?.sharedRefreshes({ with: 'instance' });
  const decideRefresh = createRefreshDecision({
    ...{ oauth, now, log, audit },
    onAlreadyRefreshed: () => sharedElsewhere?.increment(),
    revoke: (tokens) => runInBackground(ending.revoke(tokens)),
  });
  const refreshes = new Map<string, Promise<TokenRecord | undefined>>();
  const ending = createSessionEnding({ store, outbox, now, log, audit, runInBackground });
  const list = createSessionList({
    ...{ store, index, maxPerUser: maxSessionsPerUser, ending },
    isSignedIn: ({ tokens }) => !isExpiredAndUnrefreshable(tokens, now()),
  });
  const background = new Set<Promise<unknown>>();

  function runInBackground(work: Promise<unknown>): void {
    const settled = work.catch(() => undefined).finally(() => background.delete(settled)); // it was logged
    background.add(settled);
  }

  /** One refresh of a session at a time: callers in this process share it, `TokenStore.update` serializes processes. */
  function refreshOnce(id: string, observed: TokenSet, isRefused = false): Promise<TokenRecord | undefined> {
    const pending = refreshes.get(id);
    if (pending) {
      sharedHere?.increment();
      return pending;
    }
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
      decideRefresh(newest, { sessionId: id, observed, isRefused, confirmAndExtend });
    for (let restarts = 0; ; restarts += 1) {
      try {
        const record = await store.update(id, change, (discarded, reason) => {
          if (isToBeRevoked(discarded, reason)) runInBackground(ending.revoke(discarded.tokens));
        });
        return (await endIfRefused(id, record)) ? undefined : record;
      } catch (error) {
        // This process was paused; re-reading the record shows what another instance did meanwhile.
        if (!(error instanceof LeaseLostError)) throw error;
        if (restarts === maxRestarts) throw storeUnavailable(error);
      }
    }
  }

  /** Ends the session of a user who is no longer allowed to sign in, as an administrator would. */
  async function endIfRefused(id: string, record: TokenRecord | undefined): Promise<boolean> {
    const reason = record && parts.findLoginRefusal?.(claimsOf(record));
    if (reason === undefined) return false;
    log.info({ session: audit.tagFor(id), reason }, 'session ended: LOGIN_ALLOWED no longer allows its user');
    await ending.endBy(id, 'administrator');
    return true;
  }

  return {
    establish: (
      id,
      { tokens, user, claims, userinfoNames, identity },
      requested,
      { userAgent, replacedId } = {},
    ) =>
      store.put(id, {
        ...{ tokens, user, signedInAt: now(), requested },
        ...(claims && { claims }),
        ...(userinfoNames && { userinfoNames }),
        ...(identity && { identity }),
        ...(userAgent !== undefined && { userAgent: userAgent.slice(0, maxUserAgentLength) }),
        ...(replacedId !== undefined && { replacedId }),
      }),

    discardGrant: (granted) => runInBackground(ending.revoke(granted)),

    async peek(id) {
      const record = await store.get(id);
      return record && isExpiredAndUnrefreshable(record.tokens, now()) ? undefined : record;
    },

    endsAt: (id) => store.endsAt(id),

    async current(id) {
      const record = await store.get(id, { touch: true, cached: true });
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
      if (wasJustRefreshed(record, now())) return record;
      return refreshOnce(id, record.tokens);
    },

    replaceRefused: (id, refused) => refreshOnce(id, refused, true),

    ...list,
    end: ending.end,
    endBy: ending.endBy,
    endedBy: ending.endedBy,
    endReplaced: ending.endReplaced,
    discard: ending.discard,

    async drain() {
      do {
        await Promise.allSettled([...background, ...refreshes.values()]);
        await store.drain(); // what a refresh could not write yet
      } while (background.size > 0 || refreshes.size > 0);
    },
  };
}

/** True when the tokens are fresh and come from a refresh, not from the login, a few seconds ago. */
function wasJustRefreshed({ tokens, signedInAt }: TokenRecord, now: number): boolean {
  const { issuedAt } = tokens;
  return issuedAt > signedInAt && Math.abs(now - issuedAt) < minRequestedRefreshMs && isFresh(tokens, now);
}

/** True when the access token has expired and there is no refresh token. */
function isExpiredAndUnrefreshable(tokens: TokenSet, now: number): boolean {
  return tokens.refreshToken === undefined && isExpired(tokens, now);
}
