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
import { type HandOverMap, notHandedOver } from './hand-over.ts';

/** A revocation outbox in the memory of this process; what is queued is lost when the process ends. */
export function createMemoryRevocationOutbox(
  attempt: (revocation: Revocation) => Promise<boolean>,
  now: () => number,
  elapsed: () => number = elapsedMs,
  handOver: HandOverMap = notHandedOver,
): RevocationOutbox {
  const queued = handOver('revocations', new Map<Revocation, { attempts: number }>());
  /** On the clock of this process; another process attempts everything at once. */
  const notBefore = new WeakMap<Revocation, number>();
  const inProgress = new Set<Revocation>();
  const runInOrder = createKeyedMutex();
  const [runNew, runRetry] = [createFairQueue(revocationSlots), createFairQueue(revocationSlots)];
  const closed = new AbortController();

  async function process(runInTurn: RunInTurn, isIncluded: (attempts: number) => boolean): Promise<void> {
    const due = [...queued].filter(
      ([revocation, { attempts }]) =>
        isIncluded(attempts) && (notBefore.get(revocation) ?? 0) <= elapsed() && !inProgress.has(revocation),
    );
    const attempted = due.map(([revocation, state]) => {
      inProgress.add(revocation);
      return runInOrder(revocation.group, () =>
        runInTurn(revocation.group, async () => {
          if (await attempt(revocation)) queued.delete(revocation);
          else {
            state.attempts += 1;
            notBefore.set(revocation, elapsed() + retryDelayMs(state.attempts));
          }
        }),
      ).finally(() => inProgress.delete(revocation));
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
      for (const each of toRevocations(tokens, now())) queued.set(each, { attempts: 0 });
    },
    processNew,
    processDue,
    pending: async () => queued.size,
    close: () => closed.abort(),
  };
}
