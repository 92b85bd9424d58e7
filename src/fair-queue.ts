interface FairQueueOptions {
  readonly maxConcurrent: number;
  /** Work that takes longer no longer counts for `maxConcurrent`, so that what is stuck does not stop everything. */
  readonly slotMs: number;
  /** How much of that one caller can use, so that the slow requests of one caller do not delay those of others. */
  readonly maxConcurrentPerCaller: number;
  readonly maxQueued: number;
  readonly maxQueuedPerCaller: number;
}

/** Runs `work` when it is its turn; rejects with `QueueFullError` when too much is waiting. */
export type RunInTurn = <T>(caller: string, work: () => Promise<T>) => Promise<T>;

export class QueueFullError extends Error {
  override readonly name = 'QueueFullError';
}

/** A queue that runs work in the order of arrival, but skips callers that already use their share. */
export function createFairQueue(options: FairQueueOptions): RunInTurn {
  const running = new Map<string, number>();
  const queued = new Map<string, number>();
  const waiting: { readonly caller: string; readonly start: () => void }[] = [];
  let runningCount = 0;

  const canStart = (caller: string) => countOf(running, caller) < options.maxConcurrentPerCaller;

  function startNext(): void {
    while (runningCount < options.maxConcurrent) {
      const index = waiting.findIndex(({ caller }) => canStart(caller));
      const [next] = index < 0 ? [] : waiting.splice(index, 1);
      if (!next) return;
      runningCount += 1;
      add(running, next.caller, 1);
      add(queued, next.caller, -1);
      next.start();
    }
  }

  return async function runInTurn(caller, work) {
    if (waiting.length >= options.maxQueued || countOf(queued, caller) >= options.maxQueuedPerCaller)
      throw new QueueFullError();
    await new Promise<void>((resolve) => {
      waiting.push({ caller, start: resolve });
      add(queued, caller, 1);
      startNext();
    });
    const releaseSlot = runOnce(() => {
      runningCount -= 1;
      startNext();
    });
    const timer = setTimeout(releaseSlot, options.slotMs).unref();
    try {
      return await work();
    } finally {
      clearTimeout(timer);
      add(running, caller, -1);
      releaseSlot();
      startNext(); // work of this caller, if its slot was released before
    }
  };
}

const countOf = (counts: ReadonlyMap<string, number>, caller: string) => counts.get(caller) ?? 0;

function runOnce(run: () => void): () => void {
  let hasRun = false;
  return () => {
    if (!hasRun) {
      hasRun = true;
      run();
    }
  };
}

function add(counts: Map<string, number>, caller: string, change: number): void {
  const count = countOf(counts, caller) + change;
  if (count === 0) counts.delete(caller);
  else counts.set(caller, count);
}
