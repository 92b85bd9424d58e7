import type { Lifetime, TokenRecord } from './token-store.ts';

/** Whose sessions to find: those of a user, or those of one session at the provider. */
export type SessionSelector = { readonly sub: string } | { readonly sid: string };

/** A session that the index lists. */
export interface IndexedSession {
  readonly id: string;
  /** Epoch milliseconds, precise to `indexIntervalMs`. */
  readonly lastUsedAt: number;
}

/**
 * Finds sessions by their user and by the provider's session (decision 20). The token store writes it: before a record
 * is stored, when a session is used, and after a record is removed. An entry without a record is possible (a login in
 * progress, a session that has expired, a crash), a record without an entry only until the session is used again; so
 * every reader checks the record.
 */
export interface SessionIndex {
  /** Lists the session of `record` from now on; an entry that exists gets the new times. */
  add(
    id: string,
    record: TokenRecord,
    times: { readonly lastUsedAt: number; readonly endsAt: number },
  ): Promise<void>;
  /** The session of `record` is no longer listed. */
  remove(id: string, record: TokenRecord): Promise<void>;
  /** `find` with this selector no longer returns `id`: for entries whose record nobody has. */
  forget(id: string, selector: SessionSelector): Promise<void>;
  /** The first `max` entries, last used first. */
  find(selector: SessionSelector, max: number): Promise<readonly IndexedSession[]>;
  /** Every entry, those of users without `sub` too, in no order; one may appear twice. */
  all(): AsyncIterable<IndexedSession>;
  /** How many sessions there are, on all instances; those that ended in a crash count until they would have expired. */
  count(): Promise<number>;
  /**
   * Removes the entries whose session has expired. Looks only at those whose time has come, on one instance at a time.
   * Runs every minute; tests call it.
   */
  sweep(): Promise<void>;
  /** Stops sweeping. */
  close(): void;
}

export const sweepIntervalMs = 60_000;

/** The minimum time between two updates of an entry while its session is used: five minutes, less if idle time is short. */
export function indexIntervalMs({ idleSeconds }: Lifetime): number {
  return Math.min(300_000, (idleSeconds * 1000) / 4);
}

/** Under what the session of `record` is found. */
export function selectorsOf({ user, identity }: TokenRecord): readonly SessionSelector[] {
  const sub = user.sub ?? identity?.subject;
  const sid = identity?.sid;
  return [...(sub === undefined ? [] : [{ sub }]), ...(sid === undefined ? [] : [{ sid }])];
}
