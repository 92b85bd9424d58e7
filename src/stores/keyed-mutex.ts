import { setTimeout as delay } from 'node:timers/promises';

/** Runs work of one id one at a time, and work of different ids concurrently. */
export type RunExclusive = <T>(id: string, work: () => Promise<T>) => Promise<T>;

/**
 * Returns `runExclusive(id, work)`: work of one id runs one at a time in the order of the calls, work of different ids
 * runs concurrently. A failure does not block the next call.
 */
export function createKeyedMutex(): RunExclusive {
  const last = new Map<string, Promise<unknown>>();
  return function runExclusive(id, work) {
    const result = (last.get(id) ?? Promise.resolve()).then(work);
    const settled = result
      .catch(() => undefined) // its own caller gets the error
      .then(() => {
        if (last.get(id) === settled) last.delete(id);
      });
    last.set(id, settled);
    return result;
  };
}

/** Settles when all work queued for `id` so far has finished, or after `timeoutMs`. */
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
