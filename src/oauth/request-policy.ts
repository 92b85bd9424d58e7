import {
  bulkhead,
  ConsecutiveBreaker,
  circuitBreaker,
  ExponentialBackoff,
  fullJitterGenerator,
  halfJitterGenerator,
  handleWhen,
  isBrokenCircuitError,
  isBulkheadRejectedError,
  retry,
  wrap,
} from 'cockatiel';
import { OAuthError } from './oauth-error.ts';

const maxConcurrent = 10;
const maxQueued = 10_000;
const failuresToOpen = 7;

/**
 * `execute(request)`: the result of a request to one authorization server, under a policy that does not make an outage
 * worse:
 * - at most ten requests run at once, the others are queued, so that they do not all hit a server that has just
 *   recovered;
 * - a request that the server has surely not processed is retried twice, with backoff and full jitter;
 * - after seven failures in a row the circuit breaker opens, with one probe after 1, 2, 4, 8 and then every 10 s;
 * - a `Retry-After` of the server applies to all requests.
 * @throws OAuthError `unavailable`, immediately, before `Retry-After`, while the breaker is open, or when the queue is
 * full
 */
export function createRequestPolicy(now: () => number): <T>(request: () => Promise<T>) => Promise<T> {
  const policy = wrap(
    bulkhead(maxConcurrent, maxQueued),
    retry(handleWhen(isSafeToRepeat), {
      maxAttempts: 2,
      backoff: new ExponentialBackoff({ initialDelay: 100, maxDelay: 500, generator: fullJitterGenerator }),
    }),
    circuitBreaker(handleWhen(countsAsFailure), {
      halfOpenAfter: new ExponentialBackoff({
        initialDelay: 1_000,
        maxDelay: 10_000,
        generator: halfJitterGenerator, // so that instances do not probe at the same time
      }),
      breaker: new ConsecutiveBreaker(failuresToOpen),
    }),
  );
  let notBefore = 0;

  return async function execute(request) {
    const waitMs = notBefore - now();
    if (waitMs > 0) throw unavailableError('waiting for Retry-After', Math.ceil(waitMs / 1000));
    try {
      return await policy.execute(request);
    } catch (error) {
      if (isBrokenCircuitError(error)) throw unavailableError('circuit breaker is open');
      if (isBulkheadRejectedError(error)) throw unavailableError('request queue is full');
      // A rejection concerns one request only.
      if (error instanceof OAuthError && countsAsFailure(error) && error.retryAfterSeconds !== undefined)
        notBefore = now() + error.retryAfterSeconds * 1000;
      throw error;
    }
  };
}

function countsAsFailure(error: Error): boolean {
  return error instanceof OAuthError && (error.kind === 'unavailable' || error.kind === 'outcome_unknown');
}

function isSafeToRepeat(error: Error): boolean {
  return error instanceof OAuthError && error.kind === 'unavailable' && error.retryAfterSeconds === undefined;
}

function unavailableError(reason: string, retryAfterSeconds = 1): OAuthError {
  return new OAuthError('unavailable', `request to the authorization server skipped: ${reason}`, {
    retryAfterSeconds,
  });
}
