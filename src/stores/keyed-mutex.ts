import { setTimeout as delay } from 'node:timers/promises';

/** Runs works of one id one after another; those of different ids side by side. */
export type RunExclusive = <T>(id: string, work: () => Promise<T>) => Promise<T>;

/**
 * `runExclusive(id, work)`: works of one id run one after another in the order they came, those of different ids side by
 * side. A work that fails does not hold up the next.
 */
export function createKeyedMutex(): RunExclusive {
  const last = new Map<string, Promise<unknown>>();
  return function runExclusive(id, work) {
    const result = (last.get(id) ?? Promise.resolve()).then(work);
    const settled = result
      .catch(() => undefined) // its own caller hears of it
      .then(() => {
        if (last.get(id) === settled) last.delete(id);
      });
    last.set(id, settled);
    return result;
  };
}

/** Settles when the works of `id` that were there before have ended, and after `timeoutMs` in any case. */
export async function waitForPending(
  runExclusive: RunExclusive,
  id: string,
  timeoutMs: number,
): Promise<void> {
  const waiting = new AbortController();
  const result = runExclusive(id, async () => {});
  try {
    await Promise.race([result, delay(timeoutMs, undefined, { signal: waiting.signal })]);
  } finally {
    waiting.abort();
  }
}
