import type { User } from '../oauth/client.ts';
import type { TokenSet } from '../oauth/token-set.ts';
import { createTurns } from './turns.ts';

/** What a session that is logged in is logged in with. */
export interface TokenRecord {
  readonly tokens: TokenSet;
  readonly user: User;
  /** Epoch milliseconds of the login; the session's absolute limit counts from here. */
  readonly signedInAt: number;
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
  put(id: string, record: TokenRecord): Promise<void>;
  /**
   * Calls `change` with the newest record and keeps what it returns; `undefined` removes the record, and when
   * `change` rejects nothing changes. Without a record it does nothing, so nothing is ever brought back.
   * @returns what is kept afterwards
   */
  update(id: string, change: Change): Promise<TokenRecord | undefined>;
  /** Removes and returns the record; when an update is under way, what that update leaves. */
  take(id: string): Promise<TokenRecord | undefined>;
  /** When the session ends unless it is used (epoch milliseconds); `undefined` without a record. */
  endsAt(id: string): Promise<number | undefined>;
}

export type Change = (newest: TokenRecord) => Promise<TokenRecord | undefined>;

/** A session slides no more often than this. */
export const slideEveryMs = 60_000;

/** True once the session's absolute limit is reached, whatever the store still holds. */
export function isOver(record: TokenRecord, lifetime: Lifetime, now: number): boolean {
  return now >= record.signedInAt + lifetime.absoluteSeconds * 1000;
}

/** A store that lives and ends with this process. */
export function createMemoryTokenStore(lifetime: Lifetime, now: () => number): TokenStore {
  const entries = new Map<string, { record: TokenRecord; usedAt: number }>();
  const inTurn = createTurns();

  function end({ record, usedAt }: { record: TokenRecord; usedAt: number }): number {
    return Math.min(
      usedAt + lifetime.idleSeconds * 1000,
      record.signedInAt + lifetime.absoluteSeconds * 1000,
    );
  }

  function live(id: string) {
    const entry = entries.get(id);
    if (entry && now() >= end(entry)) {
      entries.delete(id);
      return undefined;
    }
    return entry;
  }

  return {
    async get(id, { slide = false } = {}) {
      const entry = live(id);
      if (slide && entry && now() - entry.usedAt >= slideEveryMs) entry.usedAt = now();
      return entry?.record;
    },

    put: (id, record) =>
      inTurn(id, async () => {
        for (const other of entries.keys()) live(other); // nobody else asks after sessions that were left
        entries.set(id, { record, usedAt: now() });
      }),

    update: (id, change) =>
      inTurn(id, async () => {
        const entry = live(id);
        if (!entry) return undefined;
        const changed = await change(entry.record);
        if (changed) entry.record = changed;
        else entries.delete(id);
        return changed;
      }),

    take: (id) =>
      inTurn(id, async () => {
        const entry = live(id);
        entries.delete(id);
        return entry?.record;
      }),

    async endsAt(id) {
      const entry = live(id);
      return entry && end(entry);
    },
  };
}
