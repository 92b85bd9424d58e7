import {
  type Revocation,
  type RevocationOutbox,
  retryDelayMs,
  runEverySecond,
  toRevocations,
} from '../../tokens/revocation-outbox.ts';

/** A revocation outbox in the memory of this process; what is queued is lost when the process ends. */
export function createMemoryRevocationOutbox(
  attempt: (revocation: Revocation) => Promise<boolean>,
  now: () => number,
): RevocationOutbox {
  const queued = new Map<Revocation, { attempts: number; dueAt: number }>();
  const closed = new AbortController();

  async function processDue(): Promise<void> {
    for (const [revocation, state] of queued) {
      if (state.dueAt > now()) continue;
      state.dueAt = Number.POSITIVE_INFINITY; // in progress: no other run may attempt it
      if (await attempt(revocation)) queued.delete(revocation);
      else {
        state.attempts += 1;
        state.dueAt = now() + retryDelayMs(state.attempts);
      }
    }
  }

  runEverySecond(processDue, closed.signal);
  return {
    async add(tokens) {
      for (const each of toRevocations(tokens, now())) queued.set(each, { attempts: 0, dueAt: now() });
    },
    processDue,
    pending: async () => queued.size,
    close: () => closed.abort(),
  };
}
