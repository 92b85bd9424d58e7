import { elapsedMs } from '../time/elapsed.ts';
import type { TokenRecord, TokenStore } from '../tokens/token-store.ts';

/** Notifies the processes that a record which they have read may no longer be the newest. */
export interface RecordChanges {
  /** Announces to all instances that the session `id` has a new record; to this instance immediately. Never throws. */
  publishChange(id: string): void;
  /**
   * Calls `onChange` with the id of each session that ended or changed on any instance; `undefined` stands for all
   * sessions.
   */
  watch(onChange: (id: string | undefined) => void): void;
  /** The time (`elapsedMs()`) before which all published changes have arrived; -Infinity if it is not known. */
  confirmedAt(): number;
}

interface CacheOptions {
  /** Where `store` announces what it changes. */
  readonly changes: Pick<RecordChanges, 'watch' | 'confirmedAt'>;
  /** A record is used for at most this long after it was requested from `store`, even if no messages arrive. */
  readonly maxAgeMs: number;
  readonly absoluteEndOf: (record: TokenRecord) => number;
  readonly now: () => number;
  /** The clock of `confirmedAt`, in milliseconds. */
  readonly monotonicNow?: () => number;
}

interface Entry {
  readonly record: TokenRecord;
  /** When it was requested, on both clocks. */
  readonly readAt: number;
  readonly readAtTime: number;
}

/** No record is used if `confirmedAt` is further in the past than this. */
const maxUnconfirmedMs = 250;
const maxEntries = 5_000;

/**
 * `store`, with a cache of the records that it has just read (decision 25). Only `get` with `cached` returns a record
 * from the cache; all operations that change a session, or decide about a refresh, read the newest record.
 */
export function cacheRecords(store: TokenStore, options: CacheOptions): TokenStore {
  const { changes, maxAgeMs, absoluteEndOf, now, monotonicNow = elapsedMs } = options;
  /** In the order in which the records were read. */
  const entries = new Map<string, Entry>();
  /** For each session, the number of operations in progress that may change it. */
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
    const [at, time] = [monotonicNow(), now()];
    if (at - entry.readAt >= maxAgeMs || at - changes.confirmedAt() >= maxUnconfirmedMs) return undefined;
    // The monotonic clock stands still while a computer is suspended, and the time can be set.
    if (Math.abs(time - entry.readAtTime) >= maxAgeMs) return undefined;
    return time < absoluteEndOf(entry.record) ? entry.record : undefined;
  }

  function remember(id: string, entry: Entry): void {
    for (const [oldest, { readAt }] of entries) {
      if (entries.size < maxEntries && entry.readAt - readAt < maxAgeMs) break;
      entries.delete(oldest);
    }
    entries.delete(id);
    entries.set(id, entry);
  }

  /** Until `work` has settled, the record of `id` is neither taken from the cache nor added to it. */
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
      const times = { readAt: monotonicNow(), readAtTime: now() };
      const countBefore = changeCount;
      const record = await store.get(id, getOptions);
      // If a change arrived meanwhile, the record may be older than the change.
      if (record && getOptions?.cached && changeCount === countBefore && !inProgress.has(id))
        remember(id, { record, ...times });
      return record;
    },

    put: (id, record) => change(id, () => store.put(id, record)),

    take: (id, reason, beforeRemoval) => change(id, () => store.take(id, reason, beforeRemoval)),

    update: (id, decide, onDiscarded) => change(id, () => store.update(id, decide, onDiscarded)),
  };
}
