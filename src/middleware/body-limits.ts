import type { Request, RequestHandler } from 'express';
import { AppError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { elapsedMs } from '../time/elapsed.ts';
import { addressKeyOf } from './client-address.ts';
import { createRefusalLog } from './refusal-log.ts';

/** How long a body may take to arrive, in total: a byte now and then does not extend it. */
const bodyTimeoutMs = 10_000;
/** Requests whose body is in memory, until their response has been sent. More per address, which many users may share. */
const userLimits = { total: 64, perUser: 4, perAddress: 16, patienceMs: Number.POSITIVE_INFINITY };
const refusedMessage = 'requests rejected: too many bodies in memory at once';

interface BodyLimitParts {
  /** The key of the user who is signed in; `undefined` without a session and when it has ended. */
  readonly getUserKey: (req: Request) => Promise<string | undefined>;
  readonly log: Logger;
  readonly metrics: Pick<Metrics, 'limitRejections'>;
  /**
   * By default those for bodies that users send. At the limit `total`, a body that has been arriving for longer than
   * `patienceMs` makes room for a new one.
   */
  readonly limits?: Partial<typeof userLimits>;
}

interface ArrivingBody {
  readonly startedAt: number;
  /** Refuses the request. */
  expire(): void;
}

/**
 * `limitBody(parse)`: middleware that reads a body with the parser `parse`, which limits its size. The body must arrive
 * within `bodyTimeoutMs`, and few requests of one caller, and of all callers, may have a body in memory at once.
 * @throws AppError `request_timeout`, `too_many_requests` (this caller), `temporarily_unavailable` (all callers together)
 */
export function createBodyLimits({ getUserKey, log, metrics, limits }: BodyLimitParts) {
  const max = { ...userLimits, ...limits };
  const counter = metrics.limitRejections({ limit: 'bodies in memory' });
  const logUserRefusal = createRefusalLog(log, { limit: max.perUser }, refusedMessage, counter);
  const logAddressRefusal = createRefusalLog(log, { limit: max.perAddress }, refusedMessage, counter);
  const logTotalRefusal = createRefusalLog(log, { limit: max.total }, refusedMessage, counter);
  const open = new Map<string, number>();
  /** The bodies that are still arriving, oldest first. */
  const arriving = new Set<ArrivingBody>();
  let total = 0;

  function makeRoom(): boolean {
    const [oldest] = arriving;
    if (!oldest || elapsedMs() - oldest.startedAt < max.patienceMs) return false;
    oldest.expire();
    return true;
  }

  function change(caller: string, by: 1 | -1): void {
    total += by;
    const count = (open.get(caller) ?? 0) + by;
    if (count === 0) open.delete(caller);
    else open.set(caller, count);
  }

  return function limitBody(parse: RequestHandler): RequestHandler {
    return async function limitedBody(req, res, next) {
      const userKey = await getUserKey(req);
      if (res.closed) return; // nobody is left to send the body
      const caller = userKey ?? addressKeyOf(req);
      const isUser = userKey !== undefined;
      if ((open.get(caller) ?? 0) >= (isUser ? max.perUser : max.perAddress))
        refuse('too_many_requests', isUser ? logUserRefusal : logAddressRefusal);
      if (total >= max.total && !makeRoom()) refuse('temporarily_unavailable', logTotalRefusal);
      change(caller, 1);
      res.once('close', () => change(caller, -1));
      let isDone = false;
      function finish(error?: unknown): void {
        clearTimeout(timer);
        arriving.delete(body);
        if (isDone) return;
        isDone = true;
        next(error);
      }
      function expire(): void {
        req.pause();
        finish(new AppError('request_timeout', { cause: new Error('the body took too long') }));
      }
      const body = { startedAt: elapsedMs(), expire };
      arriving.add(body);
      const timer = setTimeout(expire, bodyTimeoutMs);
      res.once('close', () => {
        clearTimeout(timer);
        arriving.delete(body);
      });
      parse(req, res, finish);
    };
  };
}

function refuse(code: 'too_many_requests' | 'temporarily_unavailable', logRefusal: () => void): never {
  logRefusal();
  throw new AppError(code, { retryAfterSeconds: 1 });
}
