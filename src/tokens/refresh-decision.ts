import type { Audit } from '../audit/audit-log.ts';
import type { Caller } from '../circuit-breaker.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { OAuthClient } from '../oauth/oauth-client.ts';
import { type OAuthError, type OAuthErrorKind, toOAuthError } from '../oauth/oauth-error.ts';
import { isExpired, isFresh, type TokenSet } from '../oauth/token-set.ts';
import { claimsOf, LeaseLostError, type TokenRecord } from './token-store.ts';

interface RefreshDecisionParts {
  readonly oauth: Pick<OAuthClient, 'refreshTokenGrant' | 'followClaims'>;
  readonly now: () => number;
  readonly log: Logger;
  readonly audit: Audit;
  /** Revokes tokens that are stored nowhere; nobody waits for it. */
  readonly revoke: (tokens: TokenSet) => void;
  /** Called when no refresh is needed, because another caller has made it meanwhile. */
  readonly onAlreadyRefreshed: () => void;
}

interface RefreshRequest {
  readonly sessionId: string;
  /** The tokens that the caller found too old, or that an API has rejected (`isRefused`). */
  readonly observed: TokenSet;
  readonly isRefused: boolean;
  readonly confirmAndExtend: () => Promise<void>;
}

/** How long refreshes of a session pause after a failure when the server sent no `Retry-After`. */
const defaultRetryAfterSeconds: Partial<Record<OAuthErrorKind, number>> = {
  outcome_unknown: 3,
  client_misconfigured: 5,
  rejected_other: 30,
};

/**
 * Returns the refresh table in ARCHITECTURE.md as a function: with the newest record, it refreshes if that is necessary
 * and returns the record to store, or `undefined` when the session has ended, or throws to keep the old record.
 */
export function createRefreshDecision({
  oauth,
  now,
  log,
  audit,
  revoke,
  onAlreadyRefreshed,
}: RefreshDecisionParts): (newest: TokenRecord, request: RefreshRequest) => Promise<TokenRecord | undefined> {
  /** The error that defers refreshes of this session, on every instance, by its `retryAfterSeconds`. */
  function toRetryLaterError(failure: OAuthError, { expiresAt = 0 }: TokenSet): AppError {
    const untilExpirySeconds = Math.max(1, (expiresAt - now()) / 1000);
    const seconds = failure.retryAfterSeconds ?? defaultRetryAfterSeconds[failure.kind] ?? 1;
    // After a final rejection the session ends when the token expires; the pause must not outlast that moment.
    const isFinalRejection = failure.kind === 'rejected_other';
    const retryAfterSeconds = Math.ceil(isFinalRejection ? Math.min(seconds, untilExpirySeconds) : seconds);
    return new AppError('temporarily_unavailable', { cause: failure, retryAfterSeconds });
  }

  return async function decideRefresh(newest, { sessionId, observed, isRefused, confirmAndExtend }) {
    const isExpiredNow = () => isExpired(newest.tokens, now());
    const wasRefreshedMeanwhile = newest.tokens.accessToken !== observed.accessToken;
    const session = audit.tagFor(sessionId);
    if (wasRefreshedMeanwhile && isFresh(newest.tokens, now())) {
      log.debug({ session }, 'another request has refreshed the tokens of this session meanwhile');
      onAlreadyRefreshed();
      return newest;
    }
    const about = { sessionId, sub: newest.user.sub };
    const end = (reason: 'expired' | 'refresh_rejected') => {
      audit.record('session_ended', { reason, ...about });
      return undefined;
    };
    if (newest.tokens.refreshToken === undefined) return isExpiredNow() ? end('expired') : newest;
    try {
      log.debug({ session, isRefused }, 'refreshing the tokens of a session');
      const tokens = await oauth.refreshTokenGrant(newest.tokens, {
        identity: newest.identity,
        caller: toCaller(newest, sessionId),
        beforeSending: confirmAndExtend,
      });
      log.debug(
        { session, expiresAt: tokens.expiresAt && new Date(tokens.expiresAt) },
        'the provider has issued new tokens',
      );
      audit.record('token_refreshed', about);
      const { user, userinfoNames } = newest;
      const known = { user, claims: claimsOf(newest), ...(userinfoNames && { userinfoNames }) };
      const followed = await oauth.followClaims(known, newest.tokens, tokens).catch((error: unknown) => {
        log.warn({ err: error, session }, 'cannot read the claims after a refresh; they keep their values');
        return {};
      });
      return { ...newest, ...followed, tokens, ...(isRefused && { replacedAt: now() }) };
    } catch (error) {
      if (error instanceof LeaseLostError || error instanceof AppError) throw error; // nothing was sent
      const failure = toOAuthError(error);
      const { kind } = failure;
      const { untrustedTokens } = failure.options;
      if (untrustedTokens) {
        log.error(
          { err: failure, session },
          'the response to a token refresh failed a check; its tokens are revoked, and the session ends when its access token expires',
        );
        audit.record('token_refresh_rejected', { reason: kind, ...about });
        revoke(untrustedTokens);
        const { refreshToken: _spent, ...tokens } = newest.tokens;
        return isExpiredNow() ? end('refresh_rejected') : { ...newest, tokens };
      }
      if (kind === 'invalid_grant') {
        log.info(
          { err: failure, session },
          'session ended: the provider rejected the refresh token (invalid_grant)',
        );
        audit.record('token_refresh_rejected', { reason: kind, ...about });
        return end('refresh_rejected');
      }
      // A token without a stated lifetime is valid until an API rejects it.
      const hasExpired = isExpiredNow() || (isRefused && newest.tokens.expiresAt === undefined);
      if (kind === 'rejected_other' && hasExpired) {
        log.warn(
          { err: failure, session },
          'session ended: the provider rejected the refresh token with a non-standard error',
        );
        audit.record('token_refresh_rejected', { reason: kind, ...about });
        return end('refresh_rejected');
      }
      audit.record('token_refresh_deferred', { reason: kind, ...about });
      if (kind === 'client_misconfigured' && failure.code !== undefined)
        log.error(
          { err: failure, session },
          'the provider rejected our client credentials: check OAUTH2_CLIENT_ID and OAUTH2_CLIENT_SECRET',
        );
      else
        log.warn(
          { err: failure, kind, session },
          'token refresh failed; keeping the session and retrying later',
        );
      throw toRetryLaterError(failure, newest.tokens);
    }
  };
}

function toCaller({ user: { sub } }: TokenRecord, sessionId: string): Caller {
  return sub === undefined
    ? { name: `session ${sessionId}`, isUser: false }
    : { name: `user ${sub}`, isUser: true };
}
