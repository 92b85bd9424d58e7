import { SetupFault } from './ports.ts';

export interface Lifetime {
  /** Remembers how to close something; what was opened last is closed first. */
  opened(close: () => Promise<unknown>): void;
  /** Closes everything that was opened, once, and ends the process with this exit code. */
  end(exitCode: number): void;
  readonly ending: boolean;
}

/** A process that ends in order: on a signal with exit code 0, on a `SetupFault` with its one line and 1. */
export function createLifetime(): Lifetime {
  const closers: (() => Promise<unknown>)[] = [];
  let ending = false;

  async function closeAll(exitCode: number): Promise<void> {
    // One that fails to close must not keep the others open; the process ends anyway.
    for (const close of closers.reverse()) await close().catch(() => undefined);
    process.exit(exitCode);
  }

  function end(exitCode: number): void {
    if (ending) return;
    ending = true;
    void closeAll(exitCode);
  }

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => end(0));
  return {
    opened: (close) => void closers.push(close),
    end,
    get ending() {
      return ending;
    },
  };
}

/**
 * Ends the process when the one that started it is gone. Under `npm run` that is a shell, which dies of the SIGTERM that
 * npm passes on to it and tells nobody.
 */
export function endWithParent(lifetime: Lifetime): void {
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) lifetime.end(0);
  }, 250).unref();
}

/** Runs the start of a process; a `SetupFault` on the way is printed as one line and ends it. */
export async function begin(lifetime: Lifetime, start: () => Promise<void>): Promise<void> {
  try {
    await start();
  } catch (error) {
    if (!(error instanceof SetupFault)) throw error;
    if (!lifetime.ending) console.error(error.message);
    lifetime.end(1);
  }
}
