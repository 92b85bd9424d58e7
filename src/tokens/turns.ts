import { setTimeout as delay } from 'node:timers/promises';

/** Runs works of one id one after another; those of different ids side by side. */
export type InTurn = <T>(id: string, work: () => Promise<T>) => Promise<T>;

/**
 * `inTurn(id, work)`: works of one id run one after another in the order they came, those of different ids side by
 * side. A work that fails does not hold up the next.
 */
export function createTurns(): InTurn {
  const last = new Map<string, Promise<unknown>>();
  return function inTurn(id, work) {
    const turn = (last.get(id) ?? Promise.resolve()).then(work);
    const settled = turn
      .catch(() => undefined) // its own caller hears of it
      .then(() => {
        if (last.get(id) === settled) last.delete(id);
      });
    last.set(id, settled);
    return turn;
  };
}

/** Settles when the works of `id` that were there before have ended, and after `longestMs` in any case. */
export async function untilQuiet(inTurn: InTurn, id: string, longestMs: number): Promise<void> {
  const waiting = new AbortController();
  const turn = inTurn(id, async () => {});
  try {
    await Promise.race([turn, delay(longestMs, undefined, { signal: waiting.signal })]);
  } finally {
    waiting.abort();
  }
}
