import type { Request, RequestHandler } from 'express';
import { ipKeyGenerator, rateLimit, type Store } from 'express-rate-limit';
import type { ResourceServer } from '../config/route-table.ts';
import { AppError } from '../errors.ts';
import type { Logger } from '../logger.ts';

export type RateLimit = NonNullable<ResourceServer['rateLimit']>;

interface RateLimitParts {
  /** A store of its own for each limit. */
  readonly rateLimitStore: (name: string) => Store;
  readonly getSessionId: (req: Request) => string | undefined;
  readonly log: Logger;
}

/** Together with what a request waits for its tokens, less than the two seconds in which it has to have its answer. */
const countTimeoutMs = 300;
const retryAfterMs = 1_000;
const silentLogger = { warn() {}, error() {} };

/**
 * `limit(name, { limit, windowSeconds })`: lets so many requests of a session pass in each window, or of an address
 * (IPv6: of its /56) when there is no session, and tells of it in `RateLimit` and `RateLimit-Policy`
 * (draft-ietf-httpapi-ratelimit-headers-08). `name` is printable ASCII; limits of one name count together. While the
 * store is away everything passes.
 * @throws AppError `too_many_requests`
 */
export function createRateLimits({ rateLimitStore, getSessionId, log }: RateLimitParts) {
  const withTimeout = createStoreTimeout(log);

  function limitKey(req: Request): string {
    const id = getSessionId(req);
    return id === undefined ? `address:${ipKeyGenerator(req.ip ?? '')}` : `session:${id}`;
  }

  return function limit(name: string, rate: RateLimit): RequestHandler {
    return rateLimit({
      identifier: name,
      limit: rate.limit,
      windowMs: rate.windowSeconds * 1000,
      keyGenerator: limitKey,
      store: withTimeout(rateLimitStore(name)),
      passOnStoreError: true,
      standardHeaders: 'draft-8',
      legacyHeaders: false,
      handler(_req, res, next) {
        const retryAfterSeconds = Math.max(1, Number(res.getHeader('Retry-After')));
        next(new AppError('too_many_requests', { retryAfterSeconds }));
      },
      // Both would write to the console, and a double count would be told with its key.
      validate: false,
      logger: silentLogger,
    });
  };
}

/**
 * Stores that give up on counting soon, and then all of them for a second: what limits the eager must not hold up
 * everyone. The log has one line for when it begins, and one for when it is over.
 */
function createStoreTimeout(log: Logger): (store: Store) => Store {
  let retryAt = 0;
  let isUnavailable = false;

  function markFailed(error: unknown): never {
    retryAt = Date.now() + retryAfterMs;
    if (!isUnavailable) log.warn({ err: error }, 'requests are not limited while their store is away');
    isUnavailable = true;
    throw error;
  }

  function markRecovered(): void {
    if (isUnavailable) log.info('requests are limited again');
    isUnavailable = false;
  }

  return (store) => ({
    init: (options) => store.init?.(options),
    async increment(key) {
      if (Date.now() < retryAt) throw new Error('the store did not answer a moment ago');
      let timer: NodeJS.Timeout | undefined;
      const timeout = new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => reject(new Error('the store takes too long to count')), countTimeoutMs);
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
