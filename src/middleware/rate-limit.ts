import type { Request, RequestHandler, Response } from 'express';
import { ipKeyGenerator, rateLimit, type Store } from 'express-rate-limit';
import type { ResourceServer } from '../config/route-table.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../logger.ts';

export type RateLimit = NonNullable<ResourceServer['rateLimit']>;

interface RateLimitParts {
  /** A separate store for each limit; in Redis, limits with the same name count together. */
  readonly rateLimitStore: (name: string) => Store;
  readonly getSessionId: (req: Request) => string | undefined;
  readonly log: Logger;
}

/** Short, because a request must get its response within two seconds, including the wait for its tokens. */
const countTimeoutMs = 300;
const retryAfterMs = 1_000;
const silentLogger = { warn() {}, error() {} };

/**
 * `limit(name, { limit, windowSeconds })`: middleware that allows `limit` requests per window and session, or per
 * address (IPv6: /56 network) without a session. Responses have `RateLimit` and `RateLimit-Policy`
 * (draft-ietf-httpapi-ratelimit-headers-08). `name` is printable ASCII. While the store is unavailable, every request
 * passes. With `countsOnly`, only the requests count whose response fulfils it.
 * @throws AppError `too_many_requests`
 */
export function createRateLimits({ rateLimitStore, getSessionId, log }: RateLimitParts) {
  const withTimeout = createStoreTimeout(log);

  function getLimitKey(req: Request): string {
    const id = getSessionId(req);
    return id === undefined ? `address:${ipKeyGenerator(req.ip ?? '')}` : `session:${id}`;
  }

  return function limit(
    name: string,
    rate: RateLimit,
    { countsOnly }: { readonly countsOnly?: (res: Response) => boolean } = {},
  ): RequestHandler {
    return rateLimit({
      identifier: name,
      limit: rate.limit,
      windowMs: rate.windowSeconds * 1000,
      keyGenerator: getLimitKey,
      store: withTimeout(rateLimitStore(name)),
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
        next(new AppError('too_many_requests', { retryAfterSeconds }));
      },
      // Both would write to the console, including the key of a request that is counted twice.
      validate: false,
      logger: silentLogger,
    });
  };
}

/**
 * Wraps stores so that a slow one does not delay requests: counting times out, and for a second after a failure no
 * store is tried. An outage has one log line at its beginning and one at its end.
 */
function createStoreTimeout(log: Logger): (store: Store) => Store {
  let retryAt = 0;
  let isUnavailable = false;

  function markFailed(error: unknown): never {
    retryAt = Date.now() + retryAfterMs;
    if (!isUnavailable) log.warn({ err: error }, 'rate limiting disabled: store unavailable');
    isUnavailable = true;
    throw error;
  }

  function markRecovered(): void {
    if (isUnavailable) log.info('rate limiting re-enabled');
    isUnavailable = false;
  }

  return (store) => ({
    init: (options) => store.init?.(options),
    async increment(key) {
      if (Date.now() < retryAt)
        throw new Error('rate-limit store failed recently; not querying it again yet');
      let timer: NodeJS.Timeout | undefined;
      const timeout = new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => reject(new Error('rate-limit store timed out')), countTimeoutMs);
      });
      try {
        const count = await Promise.race([store.increment(key), timeout]);
        markRecovered();
        return count;
      } catch (error) {
        return markFailed(error);
      } finally {
        clearTimeout(timer);
      }
    },
    decrement: (key) => store.decrement(key),
    resetKey: (key) => store.resetKey(key),
  });
}
