import type { LoginRequirements } from '../oauth/login-requirements.ts';
import type { TokenSet } from '../oauth/token-set.ts';
import type { User } from '../oauth/userinfo.ts';

/** What a session that is logged in is logged in with. */
export interface TokenRecord {
  readonly tokens: TokenSet;
  readonly user: User;
  /** Epoch milliseconds of the login; the session's absolute limit counts from here. */
  readonly signedInAt: number;
  /** What the login asked for, beside what `tokens` were granted; absent in records of older versions. */
  readonly requested?: LoginRequirements;
  /** Epoch milliseconds at which the access token was last renewed because an API had onDiscarded it. */
  readonly replacedAt?: number;
}

/** How long a session lives: `idleSeconds` after its last use, `absoluteSeconds` after its login. */
export interface Lifetime {
  readonly idleSeconds: number;
  readonly absoluteSeconds: number;
}

/**
 * Keeps the record of each session; a session is logged in exactly while there is one under its id.
 * For one id `put`, `update` and `take` happen one after another, across instances too.
 * Every verb rejects with `temporarily_unavailable` when the store cannot tell, and never means "absent" by it.
 */
export interface TokenStore {
  /**
   * The newest record. With `slide` this counts as use of the session: its idle time starts anew, at most once a
   * minute and for the session's other data as well.
   */
  get(id: string, options?: { readonly slide?: boolean }): Promise<TokenRecord | undefined>;
  /** @throws AppError `login_required`: the session has been ended, and nothing brings it back */
  put(id: string, record: TokenRecord): Promise<void>;
  /**
   * Calls `change` with the newest record and keeps what it returns; `undefined` removes the record, and when
   * `change` rejects nothing changes. Without a record it does nothing, so nothing is ever brought back.
   * An AppError with `retryAfterSeconds` is everyone's answer for that long, and `change` is not called meanwhile.
   * When the store goes away after `change`, this rejects, and what `change` returned is written as soon as the store is
   * back: it may hold the only refresh token there is.
   * @param onDiscarded is called with what `change` returned when the session was ended meanwhile
   * @returns what is kept afterwards: not what `change` returned, when the session ended or moved on meanwhile
   */
  update(
    id: string,
    change: Change,
    onDiscarded?: (changed: TokenRecord) => void,
  ): Promise<TokenRecord | undefined>;
  /**
   * Ends the session: removes and returns the record; when an update is under way, what that update leaves. An update
   * that takes longer than two seconds is not waited for, and what it brings is onDiscarded.
   */
  take(id: string): Promise<TokenRecord | undefined>;
  /** When the session sessionEndEvents unless it is used (epoch milliseconds); `undefined` without a record. */
  endsAt(id: string): Promise<number | undefined>;
}

/** @param confirmAndExtend settles when nobody else can be at the same session for the next seconds; see `Lease` */
export type Change = (
  newest: TokenRecord,
  confirmAndExtend: () => Promise<void>,
) => Promise<TokenRecord | undefined>;

/** A session slides no more often than this: once a minute, or four times in its idle time when that is short. */
export function touchIntervalMs({ idleSeconds }: Lifetime): number {
  return Math.min(60_000, (idleSeconds * 1000) / 4);
}

/** `take` waits no longer than this for an update under way. */
export const maxTakeWaitMs = 2_000;

/** True once the session's absolute limit is reached, whatever the store still holds. */
export function isPastAbsoluteLimit(record: TokenRecord, lifetime: Lifetime, now: number): boolean {
  return now >= record.signedInAt + lifetime.absoluteSeconds * 1000;
}

/** Another instance may hold the lease by now, because this process was paused for longer than its lease. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
}
