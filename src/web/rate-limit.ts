import type { Request, RequestHandler } from 'express';
import { ipKeyGenerator, rateLimit, type Store } from 'express-rate-limit';
import { AppError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { ResourceServer } from '../route-table.ts';

export type RateLimit = NonNullable<ResourceServer['rateLimit']>;

interface RateLimitParts {
  /** A store of its own for each limit. */
  readonly rateLimitStore: (name: string) => Store;
  readonly idOf: (req: Request) => string | undefined;
  readonly log: Logger;
}

/** Together with what a request waits for its tokens, less than the two seconds in which it has to have its answer. */
const longestCountMs = 300;
const askAgainAfterMs = 1_000;
const silent = { warn() {}, error() {} };

/**
 * `limit(name, { limit, windowSeconds })`: lets so many requests of a session pass in each window, or of an address
 * (IPv6: of its /56) when there is no session, and tells of it in `RateLimit` and `RateLimit-Policy`
 * (draft-ietf-httpapi-ratelimit-headers-08). `name` is printable ASCII; limits of one name count together. While the
 * store is away everything passes.
 * @throws AppError `too_many_requests`
 */
export function createRateLimits({ rateLimitStore, idOf, log }: RateLimitParts) {
  const withinReason = createImpatience(log);

  function keyOf(req: Request): string {
    const id = idOf(req);
    return id === undefined ? `address:${ipKeyGenerator(req.ip ?? '')}` : `session:${id}`;
  }

  return function limit(name: string, rate: RateLimit): RequestHandler {
    return rateLimit({
      identifier: name,
      limit: rate.limit,
      windowMs: rate.windowSeconds * 1000,
      keyGenerator: keyOf,
      store: withinReason(rateLimitStore(name)),
      passOnStoreError: true,
      standardHeaders: 'draft-8',
      legacyHeaders: false,
      handler(_req, res, next) {
        const retryAfterSeconds = Math.max(1, Number(res.getHeader('Retry-After')));
        next(new AppError('too_many_requests', { retryAfterSeconds }));
      },
      // Both would write to the console, and a double count would be told with its key.
      validate: false,
      logger: silent,
    });
  };
}

/**
 * Stores that give up on counting soon, and then all of them for a second: what limits the eager must not hold up
 * everyone. The log has one line for when it begins, and one for when it is over.
 */
function createImpatience(log: Logger): (store: Store) => Store {
  let askAgainAt = 0;
  let isAway = false;

  function gaveUp(error: unknown): never {
    askAgainAt = Date.now() + askAgainAfterMs;
    if (!isAway) log.warn({ err: error }, 'requests are not limited while their store is away');
    isAway = true;
    throw error;
  }

  function counts(): void {
    if (isAway) log.info('requests are limited again');
    isAway = false;
  }

  return (store) => ({
    init: (options) => store.init?.(options),
    async increment(key) {
      if (Date.now() < askAgainAt) throw new Error('the store did not answer a moment ago');
      let giveUp: NodeJS.Timeout | undefined;
      const tooLate = new Promise<never>((_resolve, reject) => {
        giveUp = setTimeout(() => reject(new Error('the store takes too long to count')), longestCountMs);
      });
      try {
        const count = await Promise.race([store.increment(key), tooLate]);
        counts();
        return count;
      } catch (error) {
        return gaveUp(error);
      } finally {
        clearTimeout(giveUp);
      }
    },
    decrement: (key) => store.decrement(key),
    resetKey: (key) => store.resetKey(key),
  });
}
