import { AppError } from '../../errors.ts';
import { elapsedMs } from '../../time/elapsed.ts';
import type { SessionIndex } from '../../tokens/indexed-sessions.ts';
import type { SessionEndEvents } from '../../tokens/session-end-events.ts';
import {
  absoluteEndOf,
  endedByOf,
  type Lifetime,
  maxTakeWaitMs,
  type SessionEndReason,
  type TokenRecord,
  type TokenStore,
  touchIntervalMs,
} from '../../tokens/token-store.ts';
import { createKeyedMutex, runAfterPending } from '../keyed-mutex.ts';
import { type HandOverMap, notHandedOver } from './hand-over.ts';

interface Entry {
  record: TokenRecord;
  usedAt: number;
}

interface Failure {
  readonly error: AppError;
  readonly until: number;
}

interface Tombstone {
  readonly reason: SessionEndReason;
  readonly endedAt: number;
}

/** A token store in the memory of this process. It publishes each session that it ends before the session expires. */
export function createMemoryTokenStore(
  lifetime: Lifetime,
  now: () => number,
  sessionEndEvents: Pick<SessionEndEvents, 'publish'>,
  index: Pick<SessionIndex, 'add' | 'remove'>,
  elapsed: () => number = elapsedMs,
  handOver: HandOverMap = notHandedOver,
): TokenStore {
  const entries = handOver('token-records', new Map<string, Entry>());
  const failures = new WeakMap<Entry, Failure>();
  const tombstones = handOver('ended-sessions', new Map<string, Tombstone>()); // oldest first, until nothing can restore the session
  const runExclusive = createKeyedMutex();

  function expiresAtOf({ record, usedAt }: Entry): number {
    return Math.min(usedAt + lifetime.idleSeconds * 1000, absoluteEndOf(record, lifetime));
  }

  function getUnexpired(id: string): Entry | undefined {
    const entry = entries.get(id);
    if (entry && now() >= expiresAtOf(entry)) {
      entries.delete(id);
      return undefined;
    }
    return entry;
  }

  function pruneExpired(): void {
    for (const id of entries.keys()) getUnexpired(id); // nothing else removes abandoned sessions
    for (const [id, { endedAt }] of tombstones) {
      if (now() < endedAt + lifetime.absoluteSeconds * 1000) break;
      tombstones.delete(id);
    }
  }

  const addToIndex = (id: string, entry: Entry) =>
    index.add(id, entry.record, { lastUsedAt: entry.usedAt, endsAt: expiresAtOf(entry) });

  return {
    async get(id, { touch = false } = {}) {
      const entry = getUnexpired(id);
      if (touch && entry && now() - entry.usedAt >= touchIntervalMs(lifetime)) {
        entry.usedAt = now();
        await addToIndex(id, entry);
      }
      return entry?.record;
    },

    put: (id, record) =>
      runExclusive(id, async () => {
        pruneExpired();
        if (tombstones.has(id)) throw new AppError('login_required');
        const entry = { record, usedAt: now() };
        await addToIndex(id, entry);
        entries.set(id, entry);
      }),

    update: (id, change, onDiscarded = () => {}) =>
      runExclusive(id, async () => {
        const entry = getUnexpired(id);
        if (!entry) return undefined;
        const failure = failures.get(entry);
        if (failure && elapsed() < failure.until) throw failure.error;
        const changed = await change(entry.record, async () => {}).catch((error: unknown) => {
          if (error instanceof AppError && error.retryAfterSeconds !== undefined)
            failures.set(entry, { error, until: elapsed() + error.retryAfterSeconds * 1000 });
          throw error;
        });
        if (entries.get(id) !== entry) {
          if (changed) onDiscarded(changed, tombstones.get(id)?.reason);
          return undefined; // ended meanwhile
        }
        if (changed) entry.record = changed;
        else {
          entries.delete(id);
          sessionEndEvents.publish(id);
          await index.remove(id, entry.record);
        }
        return changed;
      }),

    take: (id, reason, beforeRemoval = async () => {}) =>
      runAfterPending(runExclusive, id, maxTakeWaitMs, async () => {
        let record: TokenRecord | undefined;
        do {
          record = getUnexpired(id)?.record;
          if (record) await beforeRemoval(record);
        } while (record !== getUnexpired(id)?.record); // an update finished meanwhile
        entries.delete(id);
        if (!tombstones.has(id)) tombstones.set(id, { reason, endedAt: now() });
        sessionEndEvents.publish(id, endedByOf(reason));
        if (record) await index.remove(id, record);
        return record;
      }),

    endReason: async (id) => tombstones.get(id)?.reason,

    async endsAt(id) {
      const entry = getUnexpired(id);
      return entry && expiresAtOf(entry);
    },

    drain: async () => {}, // every update is written at once
  };
}
