import {
  ConsecutiveBreaker,
  circuitBreaker,
  ExponentialBackoff,
  halfJitterGenerator,
  handleWhen,
  isBrokenCircuitError,
} from 'cockatiel';
import type { Dispatcher } from 'undici';
import { AppError } from '../errors.ts';
import { isDisconnected, isTimeout, unavailableStatuses } from './upstream-failure.ts';

const failuresToOpen = 10;

type Ask = (question: () => Promise<Dispatcher.ResponseData>) => Promise<Dispatcher.ResponseData>;

/**
 * `ask(question)` for one host of an API: after ten failures in a row (no connection, no answer in time, 502, 503, 504)
 * it is left alone but for one probe after 1, 2, 4, 8 and then every 10 s, so that nobody waits for it in vain.
 * @throws AppError `temporarily_unavailable` at once, while it is left alone
 */
export function createUpstreamCircuit(): Ask {
  const breaker = circuitBreaker(
    handleWhen((error) => isDisconnected(error) || isTimeout(error)).orWhenResult((answer) =>
      isUnavailable(answer),
    ),
    {
      halfOpenAfter: new ExponentialBackoff({
        initialDelay: 1_000,
        maxDelay: 10_000,
        generator: halfJitterGenerator, // several instances do not probe in step
      }),
      breaker: new ConsecutiveBreaker(failuresToOpen),
    },
  );
  return async function ask(question) {
    try {
      return await breaker.execute(question);
    } catch (error) {
      if (!isBrokenCircuitError(error)) throw error;
      throw new AppError('temporarily_unavailable', { cause: error, retryAfterSeconds: 1 });
    }
  };
}

function isUnavailable(answer: unknown): boolean {
  return (
    typeof answer === 'object' &&
    answer !== null &&
    'statusCode' in answer &&
    unavailableStatuses.has(Number(answer.statusCode))
  );
}
