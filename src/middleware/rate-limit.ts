import type { Request, RequestHandler, Response } from 'express';
import { rateLimit, type Store } from 'express-rate-limit';
import type { ResourceServer } from '../config/route-table.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { elapsedMs } from '../time/elapsed.ts';
import { addressKeyOf } from './client-address.ts';
import { createRefusalLog } from './refusal-log.ts';

export type RateLimit = NonNullable<ResourceServer['rateLimit']>;

interface RateLimitParts {
  /** A separate store for each limit; in Redis, limits with the same name count together. */
  readonly rateLimitStore: (name: string) => Store;
  /** The key of the user who is signed in; `undefined` without a session and when it has ended. */
  readonly getUserKey: (req: Request) => Promise<string | undefined>;
  readonly log: Logger;
  readonly metrics: Pick<Metrics, 'limitRejections'>;
}

/** Short, because a request must get its response within two seconds, including the wait for its tokens. */
const countTimeoutMs = 300;
const retryAfterMs = 1_000;
const silentLogger = { warn() {}, error() {} };

/**
 * `limit(name, { limit, windowSeconds })`: middleware that allows `limit` requests per window and user, however many
 * sessions the user has, or per address (IPv6: /56 network) without a live session. Responses have `RateLimit` and
 * `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-08). `name` is printable ASCII. While the store is
 * unavailable, every request passes. With `countsOnly`, only the requests count whose response fulfils it.
 * @throws AppError `too_many_requests`
 */
export function createRateLimits({ rateLimitStore, getUserKey, log, metrics }: RateLimitParts) {
  const guard = createStoreGuard(log);

  async function getLimitKey(req: Request): Promise<string> {
    const userKey = await guard.tryRead(() => getUserKey(req));
    return userKey ?? addressKeyOf(req);
  }

  return function limit(
    name: string,
    rate: RateLimit,
    { countsOnly }: { readonly countsOnly?: (res: Response) => boolean } = {},
  ): RequestHandler {
    const counter = metrics.limitRejections({ limit: `rate ${name}` });
    const message = 'requests rejected: a rate limit is reached';
    const logRefusal = createRefusalLog(log, { limit: name }, message, counter);
    return rateLimit({
      identifier: name,
      limit: rate.limit,
      windowMs: rate.windowSeconds * 1000,
      keyGenerator: getLimitKey,
      store: guard.protect(rateLimitStore(name)),
      passOnStoreError: true,
      ...(countsOnly
        ? {
            skipSuccessfulRequests: true,
            requestWasSuccessful: (_req, res) => !countsOnly(res),
            standardHeaders: false, // a limit that most requests do not count for would only confuse
          }
        : { standardHeaders: 'draft-8' }),
      legacyHeaders: false,
      handler(_req, res, next) {
        const retryAfterSeconds = Math.max(1, Number(res.getHeader('Retry-After')));
        logRefusal();
        next(new AppError('too_many_requests', { retryAfterSeconds }));
      },
      // Both would write to the console, including the key of a request that is counted twice.
      validate: false,
      logger: silentLogger,
    });
  };
}

/**
 * Guards stores so that a slow one does not delay requests: an operation times out, and for a second after a failure no
 * store is tried. An outage has one log line at its beginning and one at its end.
 */
function createStoreGuard(log: Logger) {
  let retryAt = 0;
  let isUnavailable = false;

  function markFailed(error: unknown): never {
    retryAt = elapsedMs() + retryAfterMs;
    if (!isUnavailable) log.warn({ err: error }, 'rate limiting disabled: store unavailable');
    isUnavailable = true;
    throw error;
  }

  function markRecovered(): void {
    if (isUnavailable) log.info('rate limiting re-enabled');
    isUnavailable = false;
  }

  async function withTimeout<T>(operation: () => T | Promise<T>): Promise<T> {
    if (elapsedMs() < retryAt) throw new Error('rate-limit store failed recently; not querying it again yet');
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error('rate-limit store timed out')), countTimeoutMs);
    });
    try {
      return await Promise.race([operation(), timeout]);
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    /** What `read` returns, or `undefined` when it fails. Only counting decides whether the store is unavailable. */
    tryRead: <T>(read: () => Promise<T>) => withTimeout(read).catch(() => undefined),

    protect: (store: Store): Store => ({
      init: (options) => store.init?.(options),
      async increment(key) {
        const isPaused = elapsedMs() < retryAt;
        try {
          const count = await withTimeout(() => store.increment(key));
          markRecovered();
          return count;
        } catch (error) {
          if (isPaused) throw error;
          return markFailed(error);
        }
      },
      decrement: (key) => store.decrement(key),
      resetKey: (key) => store.resetKey(key),
    }),
  };
}
