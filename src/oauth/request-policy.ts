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
 * `execute(request)`: puts questions to one authorization server so that its outage is not made worse. Ten at once, the
 * others wait for their turn, so that its recovery is no stampede; what it surely has not taken up is asked again, twice,
 * with backoff and full jitter; after seven failures in a row it is left alone but for one probe after 1, 2, 4, 8
 * and then every 10 s; its `Retry-After` holds for everyone.
 * @throws OAuthError `unavailable` at once, while it is left alone
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
        generator: halfJitterGenerator, // several instances do not probe in step
      }),
      breaker: new ConsecutiveBreaker(failuresToOpen),
    }),
  );
  let notBefore = 0;

  return async function execute(request) {
    const waitMs = notBefore - now();
    if (waitMs > 0) throw unavailableError('it asked for time', Math.ceil(waitMs / 1000));
    try {
      return await policy.execute(request);
    } catch (error) {
      if (isBrokenCircuitError(error)) throw unavailableError('it keeps failing');
      if (isBulkheadRejectedError(error)) throw unavailableError('too many are waiting for it');
      if (error instanceof OAuthError && error.retryAfterSeconds !== undefined)
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
  return new OAuthError('unavailable', `the authorization server is not asked: ${reason}`, {
    retryAfterSeconds,
  });
}
