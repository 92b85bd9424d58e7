import { type ConsumedStates, consumedStateTtlMs } from '../../login/consumed-states.ts';

/** Consumed states in the memory of this process. */
export function createMemoryConsumedStates(now: () => number): ConsumedStates {
  const consumed = new Map<string, number>();
  return {
    async consume(nonce) {
      for (const [other, until] of consumed) {
        if (until > now()) break; // all others are newer
        consumed.delete(other);
      }
      if (consumed.has(nonce)) return false;
      consumed.set(nonce, now() + consumedStateTtlMs);
      return true;
    },
    async release(nonce) {
      consumed.delete(nonce);
    },
  };
}
