import { createFairQueue, type RunInTurn } from '../../fair-queue.ts';
import { elapsedMs } from '../../time/elapsed.ts';
import {
  type Revocation,
  type RevocationOutbox,
  retryDelayMs,
  revocationSlots,
  runEverySecond,
  toRevocations,
} from '../../tokens/revocation-outbox.ts';
import { createKeyedMutex } from '../keyed-mutex.ts';

/** A revocation outbox in the memory of this process; what is queued is lost when the process ends. */
export function createMemoryRevocationOutbox(
  attempt: (revocation: Revocation) => Promise<boolean>,
  now: () => number,
  elapsed: () => number = elapsedMs,
): RevocationOutbox {
  const queued = new Map<Revocation, { attempts: number; dueAt: number }>();
  const runInOrder = createKeyedMutex();
  const [runNew, runRetry] = [createFairQueue(revocationSlots), createFairQueue(revocationSlots)];
  const closed = new AbortController();

  async function process(runInTurn: RunInTurn, isIncluded: (attempts: number) => boolean): Promise<void> {
    const due = [...queued].filter(([, { attempts, dueAt }]) => isIncluded(attempts) && dueAt <= elapsed());
    const attempted = due.map(([revocation, state]) => {
      state.dueAt = Number.POSITIVE_INFINITY; // in progress: no other run may attempt it
      return runInOrder(revocation.group, () =>
        runInTurn(revocation.group, async () => {
          if (await attempt(revocation)) queued.delete(revocation);
          else {
            state.attempts += 1;
            state.dueAt = elapsed() + retryDelayMs(state.attempts);
          }
        }),
      );
    });
    await Promise.all(attempted);
  }

  const processNew = () => process(runNew, (attempts) => attempts === 0);

  async function processDue(): Promise<void> {
    await Promise.all([processNew(), process(runRetry, (attempts) => attempts > 0)]);
  }

  runEverySecond(processDue, closed.signal);
  return {
    async add(tokens) {
      for (const each of toRevocations(tokens, now())) queued.set(each, { attempts: 0, dueAt: elapsed() });
    },
    processNew,
    processDue,
    pending: async () => queued.size,
    close: () => closed.abort(),
  };
}
