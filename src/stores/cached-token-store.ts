import type { TokenRecord, TokenStore } from '../tokens/token-store.ts';

/** What tells a process that a record which it has read is no longer the newest. */
export interface RecordChanges {
  /** Notifies all instances, this one at once, that the session `id` has another record. Never throws. */
  publishChange(id: string): void;
  /** Calls `onChange` with the id of each session that has ended or changed on any instance; without an id, any may have. */
  watch(onChange: (id: string | undefined) => void): void;
  /** All changes that were published before this time (`performance.now()`) have arrived; -Infinity if that is not known. */
  confirmedAt(): number;
}

interface CacheOptions {
  readonly changes: RecordChanges;
  /** A record is used for at most this long after it was requested from `store`, whatever happens to the messages. */
  readonly maxAgeMs: number;
  readonly absoluteEndOf: (record: TokenRecord) => number;
  readonly now: () => number;
  /** The clock of ages and of `confirmedAt`, in milliseconds. */
  readonly monotonicNow?: () => number;
}

interface Entry {
  readonly record: TokenRecord;
  readonly readAt: number;
}

/** No record is used while it is longer than this unknown whether changes arrive. */
const maxUnconfirmedMs = 250;
const maxEntries = 5_000;

/**
 * `store`, which does not read a record again that it has read a moment ago (decision 25). Only `get` with `cached` returns such
 * a record; all that changes a session, or decides about a refresh, reads the newest one.
 */
export function cacheRecords(store: TokenStore, options: CacheOptions): TokenStore {
  const { changes, maxAgeMs, absoluteEndOf, now, monotonicNow = () => performance.now() } = options;
  /** In the order in which they were read. */
  const entries = new Map<string, Entry>();
  /** How many operations that may change a session are in progress. */
  const inProgress = new Map<string, number>();
  let changeCount = 0;

  function forget(id: string | undefined): void {
    changeCount += 1;
    if (id === undefined) entries.clear();
    else entries.delete(id);
  }

  function find(id: string): TokenRecord | undefined {
    const entry = entries.get(id);
    if (!entry) return undefined;
    const at = monotonicNow();
    if (at - entry.readAt >= maxAgeMs || at - changes.confirmedAt() >= maxUnconfirmedMs) return undefined;
    return now() < absoluteEndOf(entry.record) ? entry.record : undefined;
  }

  function remember(id: string, entry: Entry): void {
    for (const [oldest, { readAt }] of entries) {
      if (entries.size < maxEntries && entry.readAt - readAt < maxAgeMs) break;
      entries.delete(oldest);
    }
    entries.delete(id);
    entries.set(id, entry);
  }

  /** The record of `id` comes from the store until `work` has settled, and what was read meanwhile is not kept. */
  async function change<T>(id: string, work: () => Promise<T>): Promise<T> {
    inProgress.set(id, (inProgress.get(id) ?? 0) + 1);
    forget(id);
    try {
      return await work();
    } finally {
      forget(id);
      const others = (inProgress.get(id) ?? 1) - 1;
      if (others === 0) inProgress.delete(id);
      else inProgress.set(id, others);
    }
  }

  changes.watch(forget);

  return {
    ...store,

    async get(id, getOptions) {
      const cached = getOptions?.cached ? find(id) : undefined;
      if (cached) return cached;
      const readAt = monotonicNow();
      const countBefore = changeCount;
      const record = await store.get(id, getOptions);
      // A change that arrived meanwhile may be newer than what was read.
      if (record && getOptions?.cached && changeCount === countBefore && !inProgress.has(id))
        remember(id, { record, readAt });
      return record;
    },

    put: (id, record) => change(id, () => store.put(id, record)),

    take: (id, reason, beforeRemoval) => change(id, () => store.take(id, reason, beforeRemoval)),

    update: (id, decide, onDiscarded) =>
      change(id, async () => {
        let isChanged = false;
        const stored = await store.update(
          id,
          async (newest, confirmAndExtend) => {
            const decided = await decide(newest, confirmAndExtend);
            isChanged = decided !== newest;
            return decided;
          },
          onDiscarded,
        );
        if (isChanged && stored) changes.publishChange(id); // an end was published
        return stored;
      }),
  };
}
