export interface CircuitBreakerOptions {
  readonly now: () => number;
  /** It opens when callers with this weight in total have failed in a row, with no success in between. */
  readonly weightToOpen: number;
  /** It does not open before this time has passed since the last success. */
  readonly quietMs?: number;
}

/** Whether a call may be sent, and whether it is the probe of an open circuit breaker. */
export type Admission = 'call' | 'probe' | 'refused';

/**
 * Stops calls to a server that fails for everybody, and never because of one caller: however often the calls of one
 * caller fail, they count once, and a caller that has just failed cannot be the probe.
 */
export interface CircuitBreaker {
  admit(caller: string): Admission;
  /** Closes the circuit breaker. A call with neither outcome, such as one that its client aborted, changes nothing. */
  recordSuccess(): void;
  /** @param weight by default 1; less for a caller that may be the same person as another caller */
  recordFailure(caller: string, weight?: number): void;
}

/** A failure counts for this long. */
const failureMs = 60_000;
/** A caller that has failed leaves the next probes to others for this long. */
const leaveProbesMs = 5_000;
const firstPauseMs = 1_000;
const pauseMs = 2_000;
/** An attacker with many addresses must not fill the memory. */
const maxCallers = 1_000;

/** A circuit breaker that sends its first probe after a second, and then one every two seconds, until a call succeeds. */
export function createCircuitBreaker(options: CircuitBreakerOptions): CircuitBreaker {
  const { now, weightToOpen, quietMs = 0 } = options;
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
    admit(caller) {
      if (nextProbeAt === undefined) return 'call';
      const hasJustFailed = now() - (failures.get(caller)?.at ?? Number.NEGATIVE_INFINITY) < leaveProbesMs;
      if (now() < nextProbeAt || hasJustFailed) return 'refused';
      scheduleProbe(pauseMs);
      return 'probe';
    },

    recordSuccess() {
      failures.clear();
      succeededAt = now();
      nextProbeAt = undefined;
    },

    recordFailure(caller, weight = 1) {
      failures.delete(caller); // the map stays sorted by time
      failures.set(caller, { at: now(), weight });
      forgetOldFailures();
      if (nextProbeAt === undefined && isFailing()) scheduleProbe(firstPauseMs);
    },
  };
}
