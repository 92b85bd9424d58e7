import { AppError } from '../../errors.ts';
import type { SessionEndEvents } from '../../tokens/session-end-events.ts';
import {
  type Lifetime,
  maxTakeWaitMs,
  type TokenRecord,
  type TokenStore,
  touchIntervalMs,
} from '../../tokens/token-store.ts';
import { createKeyedMutex, waitForPending } from '../keyed-mutex.ts';

interface Entry {
  record: TokenRecord;
  usedAt: number;
  failure?: { readonly error: AppError; readonly until: number };
}

/** A token store in the memory of this process. It publishes each session that it ends before the session expires. */
export function createMemoryTokenStore(
  lifetime: Lifetime,
  now: () => number,
  sessionEndEvents: Pick<SessionEndEvents, 'publish'>,
): TokenStore {
  const entries = new Map<string, Entry>();
  const tombstones = new Map<string, number>(); // when sessions ended, oldest first, until nothing can restore them
  const runExclusive = createKeyedMutex();

  function expiresAtOf({ record, usedAt }: Entry): number {
    return Math.min(
      usedAt + lifetime.idleSeconds * 1000,
      record.signedInAt + lifetime.absoluteSeconds * 1000,
    );
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
    for (const [id, at] of tombstones) {
      if (now() < at + lifetime.absoluteSeconds * 1000) break;
      tombstones.delete(id);
    }
  }

  return {
    async get(id, { touch = false } = {}) {
      const entry = getUnexpired(id);
      if (touch && entry && now() - entry.usedAt >= touchIntervalMs(lifetime)) entry.usedAt = now();
      return entry?.record;
    },

    put: (id, record) =>
      runExclusive(id, async () => {
        pruneExpired();
        if (tombstones.has(id)) throw new AppError('login_required');
        entries.set(id, { record, usedAt: now() });
      }),

    update: (id, change, onDiscarded = () => {}) =>
      runExclusive(id, async () => {
        const entry = getUnexpired(id);
        if (!entry) return undefined;
        if (entry.failure && now() < entry.failure.until) throw entry.failure.error;
        const changed = await change(entry.record, async () => {}).catch((error: unknown) => {
          if (error instanceof AppError && error.retryAfterSeconds !== undefined)
            entry.failure = { error, until: now() + error.retryAfterSeconds * 1000 };
          throw error;
        });
        if (entries.get(id) !== entry) {
          if (changed) onDiscarded(changed);
          return undefined; // ended meanwhile
        }
        if (changed) entry.record = changed;
        else {
          entries.delete(id);
          sessionEndEvents.publish(id);
        }
        return changed;
      }),

    async take(id) {
      await waitForPending(runExclusive, id, maxTakeWaitMs);
      const entry = getUnexpired(id);
      entries.delete(id);
      tombstones.set(id, now());
      sessionEndEvents.publish(id);
      return entry?.record;
    },

    async endsAt(id) {
      const entry = getUnexpired(id);
      return entry && expiresAtOf(entry);
    },
  };
}
