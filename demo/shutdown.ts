import { SetupError } from './ports.ts';

export interface Shutdown {
  /** Adds something to close on shutdown; the last one added is closed first. */
  register(close: () => Promise<unknown>): void;
  /** Closes everything registered and exits with this code; later calls do nothing. */
  start(exitCode: number): void;
  readonly inProgress: boolean;
}

/** An orderly shutdown of this process. SIGINT, SIGTERM and SIGHUP start it with exit code 0. */
export function createShutdown(): Shutdown {
  const closers: (() => Promise<unknown>)[] = [];
  let inProgress = false;

  async function closeAll(exitCode: number): Promise<void> {
    // Errors are ignored, so that one failure does not keep the rest open; the process exits anyway.
    for (const close of closers.reverse()) await close().catch(() => undefined);
    process.exit(exitCode);
  }

  function start(exitCode: number): void {
    if (inProgress) return;
    inProgress = true;
    void closeAll(exitCode);
  }

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => start(0));
  return {
    register: (close) => void closers.push(close),
    start,
    get inProgress() {
      return inProgress;
    },
  };
}

/**
 * Shuts the process down when its parent process exits. Under `npm run` the parent is a shell: npm sends SIGTERM to that
 * shell, which exits without passing the signal on.
 */
export function exitWhenParentExits(shutdown: Shutdown): void {
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) shutdown.start(0);
  }, 250).unref();
}

/** Runs `main`; a `SetupError` is printed as one line and shuts the process down with exit code 1. */
export async function runMain(shutdown: Shutdown, main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    if (!shutdown.inProgress) console.error(error.message);
    shutdown.start(1);
  }
}
