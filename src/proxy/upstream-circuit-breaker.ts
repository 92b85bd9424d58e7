import type { Dispatcher } from 'undici';
import { AppError } from '../errors.ts';
import { isDisconnected, isTimeout, unavailableStatuses } from './upstream-errors.ts';

const failuresToOpen = 10;
const firstPauseMs = 1_000;
const maxPauseMs = 10_000;

type Execute = (request: () => Promise<Dispatcher.ResponseData>) => Promise<Dispatcher.ResponseData>;

/**
 * `execute(request)` for one host of an API: after ten failures in a row (no connection, no response in time, 502, 503, 504)
 * it is left alone but for one probe after 1, 2, 4, 8 and then every 10 s, so that nobody waits for it in vain. Nobody
 * waits for a probe either: it can be an upload of an hour, and the next one begins when its time has come.
 * @throws AppError `temporarily_unavailable` at once, while it is left alone
 */
export function createUpstreamCircuitBreaker(): Execute {
  let failures = 0;
  let probes = 0;
  let nextProbeAt = 0;

  function scheduleNextProbe(): void {
    const pauseMs = Math.min(firstPauseMs * 2 ** probes, maxPauseMs);
    nextProbeAt = Date.now() + pauseMs * (0.5 + Math.random() / 2); // several instances do not probe in step
  }

  function recordFailure(): void {
    failures += 1;
    if (failures === failuresToOpen) scheduleNextProbe();
  }

  function recordSuccess(): void {
    failures = 0;
    probes = 0;
  }

  return async function execute(request) {
    if (failures >= failuresToOpen) {
      if (Date.now() < nextProbeAt) {
        const cause = new Error('the host is left alone: it keeps failing');
        throw new AppError('temporarily_unavailable', { cause, retryAfterSeconds: 1 });
      }
      probes += 1;
      scheduleNextProbe();
    }
    try {
      const response = await request();
      if (unavailableStatuses.has(response.statusCode)) recordFailure();
      else recordSuccess();
      return response;
    } catch (error) {
      if (isDisconnected(error) || isTimeout(error)) recordFailure(); // of a caller who left nothing is learned
      throw error;
    }
  };
}
