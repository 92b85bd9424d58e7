import type { Claims } from '../claims/read-claim.ts';
import type { Identity } from '../oauth/id-token.ts';
import type { LoginRequirements } from '../oauth/login-requirements.ts';
import type { TokenSet } from '../oauth/token-set.ts';
import type { User } from '../oauth/userinfo.ts';

/** The tokens and the user of a signed-in session. */
export interface TokenRecord {
  readonly tokens: TokenSet;
  readonly user: User;
  /** What the provider says about the user; absent in records of older versions, which have `user` only. */
  readonly claims?: Claims;
  /** See `UserClaims`. */
  readonly userinfoNames?: readonly string[];
  /** The verified identity; absent if the provider issues no ID token. */
  readonly identity?: Identity;
  /** Epoch milliseconds of the login; the session's absolute limit counts from here. */
  readonly signedInAt: number;
  /** What the login requested, which may be more than `tokens` were granted; absent in records of older versions. */
  readonly requested?: LoginRequirements;
  /** Epoch milliseconds of the last refresh that replaced an access token because an API had rejected it. */
  readonly replacedAt?: number;
  /** The browser's `User-Agent` at the login, shortened. */
  readonly userAgent?: string;
  /** The id of the session that was in this browser before, which the login is about to end. */
  readonly replacedId?: string;
}

/** Everything that is known about the user of a session. */
export function claimsOf({ user, claims }: Pick<TokenRecord, 'user' | 'claims'>): Claims {
  return claims ?? { ...user };
}

/** How long a session lives: `idleSeconds` after its last use, `absoluteSeconds` after its login. */
export interface Lifetime {
  readonly idleSeconds: number;
  readonly absoluteSeconds: number;
}

/**
 * Stores the record of each session; a session is signed in exactly while there is a record under its id.
 * For one id, `put`, `update` and `take` run one at a time, across instances too.
 * When the store is unavailable, every method rejects with `temporarily_unavailable`; that never means "absent".
 */
export interface TokenStore {
  /**
   * The newest record. With `touch` this counts as use of the session and restarts its idle time, that of the
   * session's other data too; see `touchIntervalMs`. With `cached` the record may be half a second old (decision 25).
   */
  get(
    id: string,
    options?: { readonly touch?: boolean; readonly cached?: boolean },
  ): Promise<TokenRecord | undefined>;
  /** @throws AppError `login_required`: the session has ended, and nothing can restore it */
  put(id: string, record: TokenRecord): Promise<void>;
  /**
   * Calls `change` with the newest record and stores what it returns; `undefined` removes the record, and when `change`
   * rejects, nothing changes. Without a record this does nothing, so that an ended session is never restored.
   * When `change` rejects with an AppError that has `retryAfterSeconds`, all callers get a failure for that long, and
   * `change` is not called.
   * When the store becomes unavailable after `change`, this rejects, and what `change` returned is written as soon as
   * the store is available again: it may contain the only valid refresh token.
   * @param onDiscarded is called with what `change` returned when the session has ended meanwhile, and with the reason,
   * which is `undefined` when the session expired
   * @returns the record stored afterwards: not what `change` returned if the session has ended or changed meanwhile
   */
  update(
    id: string,
    change: Change,
    onDiscarded?: (changed: TokenRecord, reason: SessionEndReason | undefined) => void,
  ): Promise<TokenRecord | undefined>;
  /**
   * Ends the session for good: removes and returns the record, and leaves a tombstone with the reason. Waits for an
   * update in progress and returns its result; if that takes longer than two seconds, the result of the update is
   * discarded instead.
   * @param beforeRemoval is called with the record before it is removed, again if the record changes in between; when
   * it rejects, the session continues
   */
  take(
    id: string,
    reason: SessionEndReason,
    beforeRemoval?: (record: TokenRecord) => Promise<void>,
  ): Promise<TokenRecord | undefined>;
  /** Why the session ended; `undefined` while it lives, after it expired, and when the reason is no longer stored. */
  endReason(id: string): Promise<SessionEndReason | undefined>;
  /** When the session ends unless it is used (epoch milliseconds); `undefined` without a record. */
  endsAt(id: string): Promise<number | undefined>;
  /** Settles when no result of an update is waiting to be written. */
  drain(): Promise<void>;
}

/**
 * Who ended a session other than by signing out in it: its user from another session, an administrator, the provider
 * (back-channel logout), or SESSION_MAX_PER_USER.
 */
export type EndedBy = (typeof endedByValues)[number];

export const endedByValues = ['user', 'administrator', 'provider', 'limit'] as const;

/** Why a session ended before it expired: by sign-out, from elsewhere, or because a login in the same browser replaced it. */
export type SessionEndReason =
  | { readonly kind: 'signed_out' }
  | {
      readonly kind: 'ended';
      readonly by: EndedBy;
      /** The session at the provider of the session that the user keeps, if it is known: its grant is not revoked. */
      readonly keptSid?: string;
    }
  | {
      readonly kind: 'replaced';
      /** The subject of the new login, if it is known. */
      readonly successor: string | undefined;
      /** The id of the new session, if it is known to be of the same user. */
      readonly successorId?: string;
      /** Epoch milliseconds. */
      readonly at?: number;
    };

/** Who ended the session from elsewhere, if somebody did. */
export function endedByOf(reason: SessionEndReason | undefined): EndedBy | undefined {
  return reason?.kind === 'ended' ? reason.by : undefined;
}

/** @param confirmAndExtend settles when no other caller can update this session for the next seconds; see `Lease` */
export type Change = (
  newest: TokenRecord,
  confirmAndExtend: () => Promise<void>,
) => Promise<TokenRecord | undefined>;

/** The minimum time between two touches of a session: a minute, or a quarter of the idle time if that is shorter. */
export function touchIntervalMs({ idleSeconds }: Lifetime): number {
  return Math.min(60_000, (idleSeconds * 1000) / 4);
}

/** How long a session's other data outlives its record, so that a form submitted after the end can be saved. */
export const sessionDataGraceMs = 3_600_000;

/** How long `take` waits for an update in progress. */
export const maxTakeWaitMs = 2_000;

/** When the session reaches its absolute limit (epoch milliseconds), even if the store still has its record then. */
export function absoluteEndOf({ signedInAt }: TokenRecord, { absoluteSeconds }: Lifetime): number {
  return signedInAt + absoluteSeconds * 1000;
}

/** Not "absent": another instance may have a secret that this one does not have yet, or be of a newer version. */
export class UnreadableRecordError extends Error {
  override readonly name = 'UnreadableRecordError';

  constructor() {
    super('cannot read a token record: sealed with an unknown secret, or by a newer version');
  }
}

/** This process was paused for longer than its lease, so another instance may hold the lease now. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
}
