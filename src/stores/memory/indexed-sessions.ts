import {
  type IndexedSession,
  type SessionIndex,
  selectorsOf,
  sweepIntervalMs,
} from '../../tokens/indexed-sessions.ts';
import { type HandOverMap, notHandedOver } from './hand-over.ts';

interface Entry extends IndexedSession {
  readonly endsAt: number;
}

/** A session index in the memory of this process. */
export function createMemorySessionIndex(
  now: () => number,
  onExpired: (id: string) => void = () => undefined,
  handOver: HandOverMap = notHandedOver,
): SessionIndex {
  const entries = handOver('session-index', new Map<string, Entry>());
  /** The ids of each selector, as JSON. */
  const idsBySelector = handOver('session-ids', new Map<string, Set<string>>());

  function unlist(id: string, key: string): void {
    const ids = idsBySelector.get(key);
    ids?.delete(id);
    if (ids?.size === 0) idsBySelector.delete(key);
  }

  async function sweep(): Promise<void> {
    for (const [id, { endsAt }] of entries) if (now() >= endsAt && entries.delete(id)) onExpired(id);
    for (const [key, ids] of idsBySelector) for (const id of ids) if (!entries.has(id)) unlist(id, key);
  }

  const timer = setInterval(() => void sweep(), sweepIntervalMs).unref();

  return {
    async add(id, record, times) {
      entries.set(id, { id, ...times });
      for (const selector of selectorsOf(record)) {
        const key = JSON.stringify(selector);
        const ids = idsBySelector.get(key) ?? new Set();
        idsBySelector.set(key, ids.add(id));
      }
    },
    async remove(id, record) {
      entries.delete(id);
      for (const selector of selectorsOf(record)) unlist(id, JSON.stringify(selector));
    },
    async forget(id, selector) {
      unlist(id, JSON.stringify(selector));
    },
    async find(selector, max) {
      const ids = idsBySelector.get(JSON.stringify(selector)) ?? [];
      return [...ids]
        .flatMap((id) => entries.get(id) ?? [])
        .sort((one, other) => other.lastUsedAt - one.lastUsedAt)
        .slice(0, max);
    },
    async *all() {
      yield* [...entries.values()];
    },
    count: async () => [...entries.values()].filter(({ endsAt }) => now() < endsAt).length,
    sweep,
    close: () => clearInterval(timer),
  };
}
