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

/**
 * Runs `work` after all work queued for `id` so far, exclusively; or after `timeoutMs` beside it, if that takes longer.
 * Rejects also when `runExclusive` fails before `work` has begun.
 */
export function runAfterPending<T>(
  runExclusive: RunExclusive,
  id: string,
  timeoutMs: number,
  work: () => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const waiting = new AbortController();
    async function begin(): Promise<void> {
      if (waiting.signal.aborted) return;
      waiting.abort();
      await work().then(resolve, reject);
    }
    runExclusive(id, begin).catch((error: unknown) => {
      if (waiting.signal.aborted) return; // `work` has begun, and its outcome counts
      waiting.abort();
      reject(error);
    });
    delay(timeoutMs, undefined, { signal: waiting.signal }).then(begin, () => undefined);
  });
}
