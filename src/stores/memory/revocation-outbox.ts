import {
  pauseMs,
  type Revocation,
  type RevocationOutbox,
  revocationsOf,
  runEverySecond,
} from '../../tokens/revocation-outbox.ts';

/** Waits in this process, and ends with it. */
export function createMemoryRevocationOutbox(
  attempt: (revocation: Revocation) => Promise<boolean>,
  now: () => number,
): RevocationOutbox {
  const queued = new Map<Revocation, { attempts: number; dueAt: number }>();
  const closed = new AbortController();

  async function processDue(): Promise<void> {
    for (const [revocation, state] of queued) {
      if (state.dueAt > now()) continue;
      state.dueAt = Number.POSITIVE_INFINITY; // under way: nobody else takes it
      if (await attempt(revocation)) queued.delete(revocation);
      else {
        state.attempts += 1;
        state.dueAt = now() + pauseMs(state.attempts);
      }
    }
  }

  runEverySecond(processDue, closed.signal);
  return {
    async add(tokens) {
      for (const each of revocationsOf(tokens, now())) queued.set(each, { attempts: 0, dueAt: now() });
    },
    processDue,
    pending: async () => queued.size,
    close: () => closed.abort(),
  };
}
