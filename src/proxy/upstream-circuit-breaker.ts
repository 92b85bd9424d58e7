import { AppError } from '../errors.ts';
import { isDisconnected, isTimeout, unavailableStatuses } from './upstream-errors.ts';
import type { UpstreamResponse } from './upstream-response.ts';

const failuresToOpen = 10;
const firstPauseMs = 1_000;
const maxPauseMs = 10_000;

type Execute = (request: () => Promise<UpstreamResponse>) => Promise<UpstreamResponse>;

/**
 * `execute(request)`: the circuit breaker of one origin. It opens after ten failures in a row (no connection, no
 * response in time, 502, 503, 504) and then lets one probe through after 1, 2, 4, 8 and then every 10 s, even if the
 * previous probe is still in progress. It does not use cockatiel as `oauth/request-policy.ts` does, because cockatiel
 * makes every caller wait for its probe, and a probe here can be an upload of an hour.
 * @throws AppError `temporarily_unavailable` immediately while the circuit breaker is open
 */
export function createUpstreamCircuitBreaker(): Execute {
  let failures = 0;
  let probes = 0;
  let nextProbeAt = 0;

  function scheduleNextProbe(): void {
    const pauseMs = Math.min(firstPauseMs * 2 ** probes, maxPauseMs);
    nextProbeAt = Date.now() + pauseMs * (0.5 + Math.random() / 2); // so that instances do not probe simultaneously
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
        const cause = new Error('upstream circuit breaker is open');
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
      if (isDisconnected(error) || isTimeout(error)) recordFailure(); // an aborted request says nothing about the API
      throw error;
    }
  };
}
