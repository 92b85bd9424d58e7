import { AppError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { type OAuthError, type OAuthErrorKind, toOAuthError } from '../oauth/oauth-error.ts';
import { isExpired, refreshWindowMs, type TokenSet } from '../oauth/token-set.ts';
import type { AppTokenFailure, AppTokenRecord, AppTokenStore } from './app-token-store.ts';

/**
 * The application's own tokens (RFC 6749 4.4), one per set of scopes; an empty set stands for the configured one.
 * One request to the authorization server however many wait, across instances too, and its tokenOrThrow, good or bad, is
 * everyone's. Both verbs reject with AppError only: `temporarily_unavailable`, and `app_token_refused` when the
 * operator must act.
 */
export interface AppTokenManager {
  /** A token an API will take. While it is renewed ahead of its end nobody waits, and a failure disturbs nobody. */
  current(scope: readonly string[]): Promise<TokenSet>;
  /**
   * The token in place of one that the API has refused. It is the same one when it has itself just come in place of a
   * refused one: an API that refuses everything does not make every request fetchRecord for a token.
   */
  replaceRefused(scope: readonly string[], refused: TokenSet): Promise<TokenSet>;
  /** Settles when nothing is under way in the background. */
  drain(): Promise<void>;
}

interface AppTokenManagerParts {
  readonly store: AppTokenStore;
  readonly oauth: Pick<OAuthClient, 'clientCredentialsGrant'>;
  /** What is fetchedRecord for when nobody names a scope. */
  readonly scopes: readonly string[];
  readonly now: () => number;
  readonly log: Logger;
}

/** What this process holds for one set of scopes. */
interface Entry {
  readonly scope: readonly string[];
  record: AppTokenRecord;
  /** When this process sees to the next token, epoch milliseconds. */
  refreshAt: number;
  /** The access token an API has refused. */
  refused?: string;
  refreshOnce?: Promise<void> | undefined;
}

/** An access token this close to its end may not survive the way to the API. */
const expirySafetyMarginMs = 2_000;
/** A token that came in place of a refused one is not replaced again sooner than this. */
const replacementPauseMs = 1_000;
/** By up to this share of the leeway instances refreshEntry later than others, so that most of them find it done. */
const jitter = 0.5;
/** How long a failure is everyone's answer when the server named no time. */
const pauseSeconds: Readonly<Record<OAuthErrorKind, number>> = {
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

export function createAppTokenManager(parts: AppTokenManagerParts): AppTokenManager {
  const { store, oauth, scopes, now, log } = parts;
  const entries = new Map<string, Entry>();

  function entryOf(requested: readonly string[]): Entry {
    const scope = [...new Set(requested.length > 0 ? requested : scopes)].sort();
    const key = scope.join(' ');
    const entry = entries.get(key) ?? { scope, record: {}, refreshAt: 0 };
    entries.set(key, entry);
    return entry;
  }

  const isFailing = ({ failure }: AppTokenRecord) => failure !== undefined && now() < failure.until;

  function isUsable(tokens: TokenSet | undefined, { refused }: Entry): tokens is TokenSet {
    if (!tokens || tokens.accessToken === refused) return false;
    return !isExpired(tokens, now() + Math.min(expirySafetyMarginMs, refreshWindowMs(tokens) / 2));
  }

  /** One at a time in this process, one after another across processes (`AppTokenStore.update`). Never rejects. */
  function refreshOnce(entry: Entry): Promise<void> {
    entry.refreshOnce ??= refreshEntry(entry).finally(() => {
      entry.refreshOnce = undefined;
    });
    return entry.refreshOnce;
  }

  async function refreshEntry(entry: Entry): Promise<void> {
    const old = entry.record.tokens?.accessToken;
    // Another instance has seen to it already, or has met a failure that still counts.
    const isOutcome = (record: AppTokenRecord) =>
      isFailing(record) || (isUsable(record.tokens, entry) && record.tokens.accessToken !== old);
    let fetchedRecord: AppTokenRecord | undefined;
    async function change(newest: AppTokenRecord): Promise<AppTokenRecord> {
      if (isOutcome(newest)) return newest;
      fetchedRecord = await fetchRecord(entry, newest);
      return fetchedRecord;
    }
    try {
      const shared = await store.get(entry.scope);
      storeRecord(entry, isOutcome(shared) ? shared : await store.update(entry.scope, change));
    } catch (error) {
      // Unlike a refresh token nothing is spent by asking twice, so nobody has to wait for the store.
      log.warn(
        { err: error, scope: entry.scope },
        'app token store unavailable: requesting an app token for this process only',
      );
      storeRecord(entry, fetchedRecord ?? (await fetchRecord(entry, {})));
    }
  }

  function storeRecord(entry: Entry, record: AppTokenRecord): void {
    const tokens = record.tokens ?? entry.record.tokens; // a failure elsewhere does not end what is valid here
    entry.record = { ...record, tokens };
    entry.refreshAt =
      tokens?.expiresAt === undefined
        ? Number.POSITIVE_INFINITY
        : tokens.expiresAt - refreshWindowMs(tokens) * (1 - jitter * Math.random());
  }

  /** What the authorization server says: another token, or a failure beside the old one if that still serves. */
  async function fetchRecord(entry: Entry, newest: AppTokenRecord): Promise<AppTokenRecord> {
    const old = newest.tokens ?? entry.record.tokens;
    try {
      const tokens = await oauth.clientCredentialsGrant(entry.scope);
      return { tokens, isReplacement: old !== undefined && old.accessToken === entry.refused };
    } catch (error) {
      const failure = toOAuthError(error);
      logFailure(failure, entry.scope);
      return { tokens: isUsable(old, entry) ? old : undefined, failure: toCachedFailure(failure, now()) };
    }
  }

  function logFailure(failure: OAuthError, scope: readonly string[]): void {
    if (transientKinds.has(failure.kind))
      log.warn({ err: failure, kind: failure.kind, scope }, 'an app token cannot be had now');
    else if (failure.code === 'invalid_scope')
      log.error(
        { err: failure, scope },
        'the provider refuses the scope of an app token: check OAUTH2_APP_SCOPES and the scopes of the routes',
      );
    else
      log.error(
        { err: failure, scope },
        'the provider refuses this app a token of its own: check OAUTH2_APP_CLIENT_ID and _SECRET (without them, OAUTH2_CLIENT_ID and _SECRET), and that this client may use the grant client_credentials',
      );
  }

  function tokenOrThrow({ record: { tokens, failure }, refused }: Entry): TokenSet {
    const isValid = tokens && tokens.accessToken !== refused && !isExpired(tokens, now());
    if (tokens && (isValid || !failure)) return tokens; // one with no lifetime at all still serves who fetchedRecord for it
    throw sharedFailureError(failure, now());
  }

  async function current(scope: readonly string[]): Promise<TokenSet> {
    const entry = entryOf(scope);
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
      const entry = entryOf(scope);
      const { tokens, isReplacement } = entry.record;
      const refersToCurrentToken = !tokens || tokens.accessToken === refused.accessToken; // else there is a newer one already
      const isRecentReplacement = isReplacement && tokens && now() < tokens.issuedAt + replacementPauseMs;
      if (refersToCurrentToken && !isRecentReplacement) entry.refused = refused.accessToken;
      return current(scope);
    },

    async drain() {
      const pending = () => [...entries.values()].flatMap(({ refreshOnce }) => refreshOnce ?? []);
      while (pending().length > 0) await Promise.all(pending());
    },
  };
}

function toCachedFailure(failure: OAuthError, now: number): AppTokenFailure {
  const seconds = Math.max(1, failure.retryAfterSeconds ?? pauseSeconds[failure.kind]);
  const code = transientKinds.has(failure.kind) ? 'temporarily_unavailable' : 'app_token_refused';
  return { code, until: now + seconds * 1000, reason: failure.message };
}

function sharedFailureError(failure: AppTokenFailure | undefined, now: number): AppError {
  const { code = 'temporarily_unavailable', until = now, reason } = failure ?? {};
  const cause = new Error(`no app token, here or at another instance: ${reason}`);
  if (code !== 'temporarily_unavailable') return new AppError(code, { cause });
  return new AppError(code, { cause, retryAfterSeconds: Math.max(1, Math.ceil((until - now) / 1000)) });
}
