import { setTimeout as delay } from 'node:timers/promises';
import { type Caller, createCircuitBreaker } from '../circuit-breaker.ts';
import { createFairQueue, QueueFullError } from '../fair-queue.ts';
import { OAuthError } from './oauth-error.ts';

const maxAttempts = 3;
const initialDelayMs = 100;
const queue = {
  maxConcurrent: 10,
  slotMs: 2_000,
  maxConcurrentPerCaller: 3,
  maxQueued: 10_000,
  maxQueuedPerCaller: 100,
};

export type RequestPolicy = <T>(caller: Caller, request: () => Promise<T>) => Promise<T>;

/**
 * `execute(caller, request)`: the result of a request to one authorization server, under a policy that does not make an
 * outage worse, and with which no caller's failures hold for other callers:
 * - at most ten requests run at once, three of them of one caller; the others are queued, so that they do not all hit a
 *   server that has just recovered. A request that takes longer than two seconds makes room for another one;
 * - a request that the server has surely not processed is retried twice, with backoff and full jitter;
 * - the circuit breaker opens after three calls in a row that could not connect, or failures of three users (ten sessions of
 *   unknown users) in a row: no response, an error of the server, or a `Retry-After`. A probe follows after at most one
 *   second, then every one to two seconds.
 * A `Retry-After` is for the caller that receives it: `TokenStore` and `AppTokenStore` keep it, and this policy does not.
 * @throws OAuthError `unavailable`, immediately, while the breaker is open, or when the queue is full
 */
export function createRequestPolicy(
  now: () => number,
  onBreakerChange?: (isOpen: boolean) => void,
): RequestPolicy {
  const runInTurn = createFairQueue(queue);
  const breaker = createCircuitBreaker({ now, ...(onBreakerChange && { onChange: onBreakerChange }) });
  let callCount = 0;

  async function executeWithRetries<T>(caller: Caller, request: () => Promise<T>): Promise<T> {
    callCount += 1;
    const call = `call ${callCount}`;
    let lastError: unknown;
    for (let attempt = 1; ; attempt += 1) {
      const admission = breaker.admit(caller);
      if (admission === 'refused') throw lastError ?? unavailableError('circuit breaker is open');
      try {
        const result = await request();
        breaker.recordSuccess();
        return result;
      } catch (error) {
        recordError(error, caller, call);
        if (!isSafeToRepeat(error) || admission === 'probe' || attempt === maxAttempts) throw error;
        lastError = error;
      }
      await delay(initialDelayMs * 2 ** attempt * Math.random());
    }
  }

  function recordError(error: unknown, caller: Caller, call: string): void {
    if (!(error instanceof OAuthError)) return; // nothing was sent
    if (!countsAsFailure(error))
      breaker.recordSuccess(); // a rejection shows that the server works
    else if (error.options.isUnreachable)
      breaker.recordFailure({ name: call, isUser: true }); // nobody can connect: each call counts
    else breaker.recordFailure(caller);
  }

  return async function execute(caller, request) {
    try {
      return await runInTurn(caller.name, () => executeWithRetries(caller, request));
    } catch (error) {
      if (error instanceof QueueFullError) throw unavailableError('request queue is full');
      throw error;
    }
  };
}

function countsAsFailure({ kind }: OAuthError): boolean {
  return kind === 'unavailable' || kind === 'outcome_unknown';
}

function isSafeToRepeat(error: unknown): boolean {
  return error instanceof OAuthError && error.kind === 'unavailable' && error.retryAfterSeconds === undefined;
}

function unavailableError(reason: string): OAuthError {
  return new OAuthError('unavailable', `request to the authorization server skipped: ${reason}`, {
    retryAfterSeconds: 1,
  });
}
