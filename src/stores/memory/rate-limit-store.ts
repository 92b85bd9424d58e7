import type { Store } from 'express-rate-limit';
import { elapsedMs } from '../../time/elapsed.ts';

interface Window {
  hits: number;
  /** On the clock of `elapsed`. */
  readonly endsAt: number;
}

/**
 * Counters of one rate limit in the memory of this process. The store of express-rate-limit measures its windows with the time of
 * day: after a clock was set back, whoever had reached the limit would be rejected until the clock was where it had been.
 */
export function createMemoryRateLimitStore(elapsed: () => number = elapsedMs): Store {
  const windows = new Map<string, Window>(); // all have the same length, so the first one ends first
  let windowMs = 0;

  function prune(): void {
    for (const [key, { endsAt }] of windows) {
      if (elapsed() < endsAt) break;
      windows.delete(key);
    }
  }

  return {
    localKeys: true,
    init(options) {
      windowMs = options.windowMs;
    },
    increment(key) {
      prune();
      const window = windows.get(key) ?? { hits: 0, endsAt: elapsed() + windowMs };
      windows.set(key, window);
      window.hits += 1;
      return { totalHits: window.hits, resetTime: new Date(Date.now() + window.endsAt - elapsed()) };
    },
    decrement(key) {
      const window = windows.get(key);
      if (window && window.hits > 0) window.hits -= 1;
    },
    resetKey(key) {
      windows.delete(key);
    },
  };
}
