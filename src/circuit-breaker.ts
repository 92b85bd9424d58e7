/** For whom a call is made. */
export interface Caller {
  readonly name: string;
  /** False for what one user may have many of: a session whose user is unknown, an address. */
  readonly isUser: boolean;
}

export interface CircuitBreakerOptions {
  /** Milliseconds on a clock that is not set, as `elapsedMs`. */
  readonly now: () => number;
  /** It does not open before this time has passed since the last success. */
  readonly quietMs?: number;
  /** Called when it opens and when it closes. */
  readonly onChange?: (isOpen: boolean) => void;
}

/** Whether a call may be sent, and whether it is the probe of an open circuit breaker. */
export type Admission = 'call' | 'probe' | 'refused';

/**
 * Stops calls to a server that fails for everybody, and never because of one caller: it opens when three users or ten
 * other callers in a row have failed, with no success in between. However often the calls of one caller fail, they count
 * once, and a caller that has just failed cannot be the probe.
 */
export interface CircuitBreaker {
  admit(caller: Caller): Admission;
  /** Closes the circuit breaker. A call with neither outcome, such as one that its client aborted, changes nothing. */
  recordSuccess(): void;
  recordFailure(caller: Caller): void;
}

/** Three users, or ten others. */
const weightToOpen = 30;
const userWeight = 10;
const otherWeight = 3;
/** A failure counts for this long. */
const failureMs = 60_000;
/** A caller that has failed leaves the next probes to others for this long. */
const leaveProbesMs = 5_000;
const firstPauseMs = 1_000;
const pauseMs = 2_000;
/** An attacker with many addresses must not fill the memory. */
const maxCallers = 1_000;

/**
 * A circuit breaker whose first probe is sent after half a second to a second, and further ones every one to two seconds,
 * until a call succeeds.
 */
export function createCircuitBreaker(options: CircuitBreakerOptions): CircuitBreaker {
  const { now, quietMs = 0, onChange = () => {} } = options;
  /** The last failure of each caller since the last success, oldest first. */
  const failures = new Map<string, { readonly at: number; readonly weight: number }>();
  let succeededAt = Number.NEGATIVE_INFINITY;
  let nextProbeAt: number | undefined; // while it is open

  function scheduleProbe(inMs: number): void {
    nextProbeAt = now() + inMs * (0.5 + Math.random() / 2); // so that instances do not probe simultaneously
  }

  function forgetOldFailures(): void {
    for (const [caller, { at }] of failures) {
      if (now() - at < failureMs && failures.size <= maxCallers) break;
      failures.delete(caller);
    }
  }

  function isFailing(): boolean {
    const weight = [...failures.values()].reduce((sum, each) => sum + each.weight, 0);
    return weight >= weightToOpen && now() - succeededAt >= quietMs;
  }

  return {
    admit({ name }) {
      if (nextProbeAt === undefined) return 'call';
      const hasJustFailed = now() - (failures.get(name)?.at ?? Number.NEGATIVE_INFINITY) < leaveProbesMs;
      if (now() < nextProbeAt || hasJustFailed) return 'refused';
      scheduleProbe(pauseMs);
      return 'probe';
    },

    recordSuccess() {
      if (failures.size > 0) failures.clear(); // which allocates, even if it is empty
      succeededAt = now();
      if (nextProbeAt !== undefined) onChange(false);
      nextProbeAt = undefined;
    },

    recordFailure({ name, isUser }) {
      failures.delete(name); // the map stays sorted by time
      failures.set(name, { at: now(), weight: isUser ? userWeight : otherWeight });
      forgetOldFailures();
      if (nextProbeAt !== undefined || !isFailing()) return;
      scheduleProbe(firstPauseMs);
      onChange(true);
    },
  };
}
