import type { Audit } from '../audit/audit-log.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { type OAuthError, type OAuthErrorKind, toOAuthError } from '../oauth/oauth-error.ts';
import { isExpired, refreshWindowMs, type TokenSet } from '../oauth/token-set.ts';
import { elapsedMs } from '../time/elapsed.ts';
import type { AppTokenFailure, AppTokenRecord, AppTokenStore } from './app-token-store.ts';

/**
 * The application's own tokens (RFC 6749 4.4), one per scope set; an empty set means the configured scopes.
 * All callers share one request to the authorization server and its outcome, success or failure, across instances too.
 * `current` and `replaceRefused` reject only with AppError: `temporarily_unavailable`, or `app_token_refused` when the
 * operator must act.
 */
export interface AppTokenManager {
  /** A token that an API will accept. While it is refreshed early no caller waits, and a failure affects no caller. */
  current(scope: readonly string[]): Promise<TokenSet>;
  /**
   * The token that replaces `refused`, which an API has rejected. Returns `refused` again if it is itself a recent
   * replacement: an API that rejects every token must not cause a token request for each call.
   */
  replaceRefused(scope: readonly string[], refused: TokenSet): Promise<TokenSet>;
  /** Settles when no background refresh is in progress. */
  drain(): Promise<void>;
}

interface AppTokenManagerParts {
  readonly store: AppTokenStore;
  readonly oauth: Pick<OAuthClient, 'clientCredentialsGrant'>;
  /** The scopes that are requested when the caller names none. */
  readonly scopes: readonly string[];
  readonly now: () => number;
  /** As `elapsedMs`. */
  readonly elapsed?: () => number;
  readonly log: Logger;
  readonly audit: Audit;
}

/** What this process knows about the token of one scope set. */
interface Entry {
  readonly scope: readonly string[];
  record: AppTokenRecord;
  /** When this process refreshes the token early, epoch milliseconds. */
  refreshAt: number;
  /** The access token that an API has rejected. */
  refusedToken?: string;
  pendingRefresh?: Promise<void> | undefined;
}

/** An access token with less lifetime left than this may expire on its way to the API. */
const expirySafetyMarginMs = 2_000;
/** A token that replaced a rejected one is not replaced again before this time has passed. */
const minReplacementIntervalMs = 1_000;
/** Each instance delays its early refresh by up to this share of the refresh window, so that most find it done. */
const maxJitter = 0.5;
/** How long all callers get a failure when the server sent no `Retry-After`. */
const defaultRetryAfterSeconds: Readonly<Record<OAuthErrorKind, number>> = {
  unavailable: 1,
  outcome_unknown: 3,
  invalid_response: 3,
  client_misconfigured: 5,
  rejected_other: 30,
  invalid_grant: 30,
  denied: 30,
  authorization: 30,
};
const transientKinds: ReadonlySet<OAuthErrorKind> = new Set([
  'unavailable',
  'outcome_unknown',
  'invalid_response',
]);

/** A manager whose tokens are shared through `store`. Sends nothing until a token is needed. */
export function createAppTokenManager(parts: AppTokenManagerParts): AppTokenManager {
  const { store, oauth, scopes, now, elapsed = elapsedMs, log, audit } = parts;
  const entries = new Map<string, Entry>();

  function getOrCreateEntry(requested: readonly string[]): Entry {
    const scope = [...new Set(requested.length > 0 ? requested : scopes)].sort();
    const key = scope.join(' ');
    const entry = entries.get(key) ?? { scope, record: {}, refreshAt: 0 };
    entries.set(key, entry);
    return entry;
  }

  const isFailing = ({ failure }: AppTokenRecord) => failure !== undefined && elapsed() < failure.until;

  function isUsable(tokens: TokenSet | undefined, { refusedToken }: Entry): tokens is TokenSet {
    if (!tokens || tokens.accessToken === refusedToken) return false;
    return !isExpired(tokens, now() + Math.min(expirySafetyMarginMs, refreshWindowMs(tokens) / 2));
  }

  /** One refresh at a time: callers here share it, `AppTokenStore.update` serializes processes. Never rejects. */
  function refreshOnce(entry: Entry): Promise<void> {
    entry.pendingRefresh ??= refreshEntry(entry).finally(() => {
      entry.pendingRefresh = undefined;
    });
    return entry.pendingRefresh;
  }

  async function refreshEntry(entry: Entry): Promise<void> {
    const old = entry.record.tokens?.accessToken;
    // Another instance has already refreshed, or has failed so recently that its failure still applies.
    const isSettled = (record: AppTokenRecord) =>
      isFailing(record) || (isUsable(record.tokens, entry) && record.tokens.accessToken !== old);
    let fetchedRecord: AppTokenRecord | undefined;
    async function change(newest: AppTokenRecord): Promise<AppTokenRecord> {
      if (isSettled(newest)) return newest;
      fetchedRecord = await fetchRecord(entry, newest);
      return fetchedRecord;
    }
    try {
      const shared = await store.get(entry.scope);
      storeRecord(entry, isSettled(shared) ? shared : await store.update(entry.scope, change));
    } catch (error) {
      // Unlike with a refresh token, a second request does no harm, so no caller has to wait for the store.
      log.warn(
        { err: error, scope: entry.scope },
        'app token store unavailable: requesting an app token for this process only',
      );
      storeRecord(entry, fetchedRecord ?? (await fetchRecord(entry, {})));
    }
  }

  function storeRecord(entry: Entry, record: AppTokenRecord): void {
    const own = entry.record.tokens;
    // Neither another instance's failure nor a token that expires earlier replaces a token that still works.
    const keepsOwn =
      own &&
      own.accessToken !== entry.refusedToken &&
      expiryOf(own) > Math.max(now(), expiryOf(record.tokens));
    const tokens = keepsOwn ? own : (record.tokens ?? own);
    entry.record = { ...record, tokens };
    entry.refreshAt =
      tokens?.expiresAt === undefined
        ? Number.POSITIVE_INFINITY
        : tokens.expiresAt - refreshWindowMs(tokens) * (1 - maxJitter * Math.random());
  }

  /** Requests a token: a record with the new token, or with the failure and the old token if that is still usable. */
  async function fetchRecord(entry: Entry, newest: AppTokenRecord): Promise<AppTokenRecord> {
    const old = newest.tokens ?? entry.record.tokens;
    try {
      const tokens = await oauth.clientCredentialsGrant(entry.scope);
      log.debug({ scope: entry.scope }, 'the provider has issued an app token');
      audit.record('app_token_obtained', {});
      return { tokens, isReplacement: old !== undefined && old.accessToken === entry.refusedToken };
    } catch (error) {
      const failure = toOAuthError(error);
      logFailure(failure, entry.scope);
      audit.record('app_token_failed', { reason: failure.kind });
      return { tokens: isUsable(old, entry) ? old : undefined, failure: toCachedFailure(failure, elapsed()) };
    }
  }

  function logFailure(failure: OAuthError, scope: readonly string[]): void {
    if (transientKinds.has(failure.kind))
      log.warn({ err: failure, kind: failure.kind, scope }, 'app token request failed; will retry');
    else if (failure.code === 'invalid_scope')
      log.error(
        { err: failure, scope },
        'the provider rejected the app token scope: check OAUTH2_APP_SCOPES and the scopes in the route table',
      );
    else
      log.error(
        { err: failure, scope },
        'the provider rejected the client credentials grant: check OAUTH2_APP_CLIENT_ID and OAUTH2_APP_CLIENT_SECRET (if unset, OAUTH2_CLIENT_ID and OAUTH2_CLIENT_SECRET), and that this client is allowed to use client_credentials',
      );
  }

  function tokenOrThrow({ record: { tokens, failure }, refusedToken }: Entry): TokenSet {
    const isValid = tokens && tokens.accessToken !== refusedToken && !isExpired(tokens, now());
    // A token that is issued without any lifetime still serves the callers that requested it.
    if (tokens && (isValid || !failure)) return tokens;
    throw toAppError(failure, elapsed());
  }

  async function current(scope: readonly string[]): Promise<TokenSet> {
    const entry = getOrCreateEntry(scope);
    const { tokens } = entry.record;
    if (isUsable(tokens, entry)) {
      if (now() >= entry.refreshAt && !isFailing(entry.record)) refreshOnce(entry);
      return tokens;
    }
    if (!isFailing(entry.record)) await refreshOnce(entry);
    return tokenOrThrow(entry);
  }

  return {
    current,

    replaceRefused(scope, refused) {
      const entry = getOrCreateEntry(scope);
      const { tokens, isReplacement } = entry.record;
      const refersToCurrentToken = !tokens || tokens.accessToken === refused.accessToken; // else there is a newer one
      const isRecentReplacement =
        isReplacement && tokens && Math.abs(now() - tokens.issuedAt) < minReplacementIntervalMs;
      if (refersToCurrentToken && !isRecentReplacement) entry.refusedToken = refused.accessToken;
      return current(scope);
    },

    async drain() {
      const pending = () => [...entries.values()].flatMap(({ pendingRefresh }) => pendingRefresh ?? []);
      while (pending().length > 0) await Promise.all(pending());
    },
  };
}

/** A token without a stated lifetime counts as expired, so that it never stays in place of another one. */
const expiryOf = (tokens: TokenSet | undefined) => tokens?.expiresAt ?? 0;

function toCachedFailure(failure: OAuthError, elapsed: number): AppTokenFailure {
  const seconds = Math.max(1, failure.retryAfterSeconds ?? defaultRetryAfterSeconds[failure.kind]);
  const code = transientKinds.has(failure.kind) ? 'temporarily_unavailable' : 'app_token_refused';
  return { code, until: elapsed + seconds * 1000, reason: failure.message };
}

function toAppError(failure: AppTokenFailure | undefined, elapsed: number): AppError {
  const { code = 'temporarily_unavailable', until = elapsed, reason } = failure ?? {};
  const cause = new Error(`a recent app token request failed (possibly on another instance): ${reason}`);
  if (code !== 'temporarily_unavailable') return new AppError(code, { cause });
  return new AppError(code, { cause, retryAfterSeconds: Math.max(1, Math.ceil((until - elapsed) / 1000)) });
}
