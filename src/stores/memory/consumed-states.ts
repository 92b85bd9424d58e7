import { type ConsumedStates, consumedStateTtlMs, rejectedStateTtlMs } from '../../login/consumed-states.ts';
import { type HandOverMap, notHandedOver } from './hand-over.ts';

/** Strangers can sign out with invented login cookies. Over this number, the oldest sign-out is forgotten. */
const maxCancelled = 65_536;

/** Consumed states in the memory of this process. */
export function createMemoryConsumedStates(
  now: () => number,
  handOver: HandOverMap = notHandedOver,
): ConsumedStates {
  const consumed = handOver('consumed-states', new Map<string, number>());
  const cancelled = handOver('cancelled-logins', new Map<string, number>()); // the last sign-out of each browser, oldest first
  return {
    async consume(nonce) {
      for (const [other, until] of consumed) {
        if (until > now()) break; // most others are newer
        consumed.delete(other);
      }
      if ((consumed.get(nonce) ?? 0) > now()) return false;
      consumed.set(nonce, now() + consumedStateTtlMs);
      return true;
    },
    async release(nonce) {
      consumed.delete(nonce);
    },
    async forgetSoon(nonce) {
      consumed.set(nonce, now() + rejectedStateTtlMs);
    },
    async cancel(binding, at) {
      for (const [other, since] of cancelled) {
        if (since + consumedStateTtlMs > now() && cancelled.size < maxCancelled) break; // all others are newer
        cancelled.delete(other);
      }
      cancelled.delete(binding);
      cancelled.set(binding, at);
    },
    isCancelled: async (binding, requestedAt) =>
      requestedAt <= (cancelled.get(binding) ?? Number.NEGATIVE_INFINITY),
  };
}
