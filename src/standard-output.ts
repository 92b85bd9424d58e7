import { AsyncResource } from 'node:async_hooks';
import { fstatSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { elapsedMs } from './time/elapsed.ts';

/** Lines of the audit log may wait where lines of the log no longer may. */
export type LineKind = 'log' | 'audit';

/** Output in lines, which never makes its caller wait: if nobody reads, lines wait, and those that do not fit are dropped. */
export interface LineOutput {
  /** @param lines whole lines, which are written or dropped together */
  write(lines: string, kind?: LineKind): void;
  /** Writes what waits, for at most a quarter of a second: for the end of the process. */
  flushSync(): void;
  /** Calls `onDropped` when lines are dropped, and `onResumed` with how many were dropped when lines are written again. */
  watch(onDropped: (kind: LineKind, lines: number) => void, onResumed: (lines: number) => void): void;
}

const maxWaitingBytes: Readonly<Record<LineKind, number>> = { log: 1_048_576, audit: 2_097_152 };
const firstRetryMs = 5;
const maxRetryMs = 100;
const maxFlushMs = 250;
/** While the output is full, each attempt costs an exception. */
const minAttemptIntervalMs = 1;

/** Keeps the descriptors open, which its socket would close when it is collected as garbage. */
const holders = new Map<number, Socket>();

/**
 * Output to a descriptor. A pipe or a socket, behind which a log collector may stop reading, no longer blocks; Node.js would
 * write to it synchronously, and the process would stop. What a full disk does not take waits in the same way.
 */
export function createLineOutput(descriptor: number): LineOutput {
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  let droppedSinceReport = 0;
  let attemptedAt = Number.NEGATIVE_INFINITY;
  let retryMs = firstRetryMs;
  let isRetrying = false;
  let isClosed = false;
  let reportDropped = (_kind: LineKind, _lines: number) => {};
  let reportResumed = (_lines: number) => {};

  disableBlocking(descriptor);

  /** The number of bytes written, less than all of them if the output is full. */
  function tryWrite(bytes: Buffer): number {
    let written = 0;
    try {
      while (written < bytes.length) written += writeSync(descriptor, bytes, written);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      isClosed = code === 'EPIPE' || code === 'EBADF' || code === 'ECONNRESET'; // for ever
    }
    return written;
  }

  /** Writes what waits, as far as possible. True if nothing is left. */
  function writeWaiting(): boolean {
    attemptedAt = elapsedMs();
    while (waiting[0]) {
      const written = tryWrite(waiting[0]);
      waitingBytes -= written;
      if (written < waiting[0].length) {
        waiting[0] = waiting[0].subarray(written);
        if (isClosed) dropWaiting();
        return isClosed;
      }
      waiting.shift();
    }
    retryMs = firstRetryMs;
    if (droppedSinceReport > 0) {
      const dropped = droppedSinceReport;
      droppedSinceReport = 0;
      reportResumed(dropped);
    }
    return waiting.length === 0;
  }

  function dropWaiting(): void {
    waiting = [];
    waitingBytes = 0;
  }

  function retryLater(): void {
    if (isRetrying) return;
    isRetrying = true;
    setTimeout(() => {
      isRetrying = false;
      retryMs = Math.min(retryMs * 2, maxRetryMs);
      if (!writeWaiting()) retryLater();
    }, retryMs).unref();
  }

  function add(bytes: Buffer): void {
    waiting.push(bytes);
    waitingBytes += bytes.length;
    retryLater();
  }

  return {
    write(lines, kind = 'log') {
      if (waitingBytes > 0 && elapsedMs() - attemptedAt >= minAttemptIntervalMs) writeWaiting();
      const bytes = Buffer.from(lines);
      if (isClosed || waitingBytes + bytes.length > maxWaitingBytes[kind]) {
        const count = countLines(lines);
        droppedSinceReport += count;
        reportDropped(kind, count);
      } else if (waitingBytes > 0) add(bytes);
      else {
        const written = tryWrite(bytes);
        if (written < bytes.length && !isClosed) add(bytes.subarray(written));
      }
    },

    flushSync() {
      const endsAt = elapsedMs() + maxFlushMs;
      while (!isClosed && !writeWaiting() && elapsedMs() < endsAt) sleep(firstRetryMs);
    },

    watch(onDropped, onResumed) {
      reportDropped = onDropped;
      // The line that this writes belongs to no request, even if one had to wait.
      reportResumed = AsyncResource.bind(onResumed);
    },
  };
}

let standardOutput: LineOutput | undefined;

/** The standard output of the process, on which the log and the audit log share one queue, so that no line is cut by another. */
export function openStandardOutput(): LineOutput {
  standardOutput ??= createLineOutput(1);
  return standardOutput;
}

/** Files and terminals keep their mode: a file does not wait for a reader, and a terminal is shared with its shell. */
function disableBlocking(descriptor: number): void {
  if (holders.has(descriptor)) return;
  try {
    const stat = fstatSync(descriptor);
    if (stat.isFIFO() || stat.isSocket())
      holders.set(descriptor, new Socket({ fd: descriptor, readable: false }));
  } catch {
    // Closed, or of a kind that Node.js does not know: `tryWrite` finds out.
  }
}

function countLines(text: string): number {
  let count = 0;
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) count += 1;
  return count;
}

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
