import { syncBuiltinESMExports } from 'node:module';
import timersPromises from 'node:timers/promises';
import type { Random } from './random.ts';

/** A simulated process, as far as time is concerned. */
export interface Owner {
  readonly name: string;
  /** Added to the time that this process reads from its clock. */
  readonly skewMs: number;
  isDead: boolean;
  /** Until this time, nothing of this process runs. */
  pausedUntil: number;
}

interface Event {
  at: number;
  order: number;
  readonly owner: Owner | undefined;
  readonly isTimer: boolean;
  run: (() => void) | undefined;
}

const epochMs = Date.UTC(2030, 0, 1);
const realSetImmediate = globalThis.setImmediate;

/**
 * A scheduler on a virtual clock. Everything that happens is an event at a time; between two events, all promise
 * reactions run. Once it is installed, timers, `Date.now`, `performance.now` and `Math.random` of the code under test
 * come from here, and what code of a process schedules belongs to that process.
 */
export class VirtualTime {
  nowMs = 0;
  eventCount = 0;
  current: Owner | undefined;
  readonly #heap: Event[] = [];
  #order = 0;

  constructor(readonly random: Random) {}

  /** Calls `run` after `delayMs`, as an event of `owner`. Returns a function that cancels it. */
  schedule(
    delayMs: number,
    run: () => void,
    owner: Owner | undefined = this.current,
    isTimer = false,
  ): () => void {
    const event: Event = { at: this.nowMs + Math.max(0, delayMs), order: this.#order++, owner, isTimer, run };
    this.#push(event);
    return () => {
      event.run = undefined;
    };
  }

  /** Runs `run` as code of `owner`, now. */
  as<T>(owner: Owner | undefined, run: () => T): T {
    const before = this.current;
    this.current = owner;
    try {
      return run();
    } finally {
      this.current = before;
    }
  }

  /** Runs all events up to this time. */
  async runUntil(endMs: number): Promise<void> {
    for (let event = this.#heap[0]; event && event.at <= endMs; event = this.#heap[0]) {
      this.#pop();
      if (!event.run || event.owner?.isDead) continue;
      if (event.owner && event.owner.pausedUntil > event.at) {
        // After a pause, a process usually handles its overdue timers before what has arrived meanwhile.
        const isLater = !event.isTimer && this.random.chance(0.7);
        event.at = event.owner.pausedUntil + (isLater ? 0.01 : 0);
        this.#push(event);
        continue;
      }
      this.nowMs = event.at;
      this.current = event.owner;
      this.eventCount += 1;
      event.run();
      await new Promise<void>((resolve) => realSetImmediate(resolve));
    }
    this.nowMs = Math.max(this.nowMs, endMs);
    this.current = undefined;
  }

  /** The monotonic clock of every process: it goes on while the process is paused. */
  readonly monotonicNow = (): number => this.nowMs;

  readonly dateNow = (): number => epochMs + Math.floor(this.nowMs) + (this.current?.skewMs ?? 0);

  #push(event: Event): void {
    const heap = this.#heap;
    let index = heap.push(event) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (isBefore(heap[parent]!, event)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
      if (isBefore(last, heap[child]!)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
  }
}

const isBefore = (a: Event, b: Event) => a.at < b.at || (a.at === b.at && a.order < b.order);

let time: VirtualTime;

/** Makes `next` the time of everything that runs from now on. */
export function install(next: VirtualTime): void {
  time = next;
}

class VirtualTimer {
  cancel: () => void;

  constructor(delayMs: number, run: () => void, isRepeated: boolean) {
    const schedule = () =>
      time.schedule(
        Math.max(1, delayMs),
        () => {
          if (isRepeated) this.cancel = schedule();
          run();
        },
        time.current,
        true,
      );
    this.cancel = schedule();
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  hasRef(): boolean {
    return false;
  }

  [Symbol.toPrimitive](): number {
    return 0;
  }
}

function delay<T>(
  delayMs = 1,
  value?: T,
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const abortError = () => Object.assign(new Error('The operation was aborted'), { name: 'AbortError' });
    if (signal?.aborted) return reject(abortError());
    const abort = () => {
      timer.cancel();
      reject(abortError());
    };
    const finish = () => {
      signal?.removeEventListener('abort', abort);
      resolve(value);
    };
    const timer = new VirtualTimer(delayMs, finish, false);
    signal?.addEventListener('abort', abort, { once: true });
  });
}

/** Replaces timers, clocks and `Math.random` of this process. To be called before the code under test is imported. */
export function replaceGlobals(): void {
  const create = (isRepeated: boolean) =>
    ((run: (...args: unknown[]) => void, delayMs = 1, ...args: unknown[]) =>
      new VirtualTimer(delayMs, () => run(...args), isRepeated)) as unknown as typeof setTimeout;
  const clear = (timer: unknown) => {
    if (timer instanceof VirtualTimer) timer.cancel();
  };
  const abortAfter = (delayMs: number) => {
    const controller = new AbortController();
    new VirtualTimer(
      delayMs,
      () => controller.abort(new DOMException('The operation was aborted due to timeout', 'TimeoutError')),
      false,
    );
    return controller.signal;
  };
  Object.assign(globalThis, {
    setTimeout: create(false),
    setInterval: create(true),
    clearTimeout: clear,
    clearInterval: clear,
  });
  Date.now = () => time.dateNow();
  performance.now = () => time.monotonicNow();
  Math.random = () => time.random.next();
  AbortSignal.timeout = abortAfter;
  timersPromises.setTimeout = delay as typeof timersPromises.setTimeout;
  syncBuiltinESMExports();
}
