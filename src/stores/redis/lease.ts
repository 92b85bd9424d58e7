import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { storeUnavailable } from '../../errors.ts';
import type { HistogramSeries } from '../../metrics/series.ts';
import { elapsedMs } from '../../time/elapsed.ts';
import { LeaseLostError } from '../../tokens/token-store.ts';
import { createKeyedMutex } from '../keyed-mutex.ts';
import type { RedisConnection } from './connection.ts';

const leaseMs = 2_000;
/** A process that is paused for less than this during the token request keeps its lease. */
const leaseBeforeSendMs = 6_000;
/** A confirmation that took longer may have arrived after a pause of this process, when the lease has expired. */
const maxConfirmationMs = leaseBeforeSendMs / 3;
const maxWaitMs = 30_000;
const maxPauseMs = 250;

// The value of the key is its owner, followed by ':sent' once the owner has confirmed the lease in order to send something.
const extendIfOwner = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end`;
const confirmIfOwner = `
local holder = redis.call('GET', KEYS[1])
if holder ~= ARGV[1] and holder ~= ARGV[1] .. ':sent' then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ':sent', 'PX', ARGV[2])
return 1`;
// Whoever has sent something takes the lease back from everyone who has not, such as a process that was waiting for the
// lease when Redis stopped responding, and gave up: Redis still executes its command. Returns 1 if the lease was never lost.
const keepAfterSending = `
local holder = redis.call('GET', KEYS[1])
if holder and string.sub(holder, -5) == ':sent' and holder ~= ARGV[1] .. ':sent' then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ':sent', 'PX', ARGV[2])
return holder == ARGV[1] .. ':sent' and 1 or 0`;
const releaseIfOwner = `
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] or holder == ARGV[1] .. ':sent' then return redis.call('DEL', KEYS[1]) end`;

/** The lease that `work` runs under. */
export interface Lease {
  /**
   * Once this settles, this process has owned the lease since `work` began, and owns it for at least four more
   * seconds, even if it is paused. To be called immediately before something that must not happen twice.
   * @throws LeaseLostError
   */
  confirmAndExtend(): Promise<void>;
}

type WithLease = <T>(id: string, work: (lease: Lease) => Promise<T>) => Promise<T>;

/**
 * Returns `withLease(id, work)`: like `runExclusive`, but across all instances on the same Redis. The lease is extended
 * while `work` runs and expires when its process dies. `work` must still write by compare-and-set, because a paused
 * process may outlive its lease. Waiting instances try again at growing, random intervals, for 30 s at most.
 * @param keyOf the Redis key of an id's lease
 * @param waited the time in seconds until `work` runs, also behind other callers of this process
 */
export function createLeases(
  redis: RedisConnection,
  keyOf: (id: string) => string,
  waited?: HistogramSeries,
): WithLease {
  const runExclusive = createKeyedMutex(); // instances contend for the lease, the requests of one instance do not

  async function acquire(key: string, owner: string): Promise<void> {
    const deadline = elapsedMs() + maxWaitMs;
    for (let pauseMs = 20; (await redis.set(key, owner, 'PX', leaseMs, 'NX')) === null; ) {
      if (elapsedMs() > deadline) throw new Error('timed out waiting for the lease');
      await delay(pauseMs * (0.5 + Math.random()));
      pauseMs = Math.min(pauseMs * 1.5, maxPauseMs);
    }
  }

  return function withLease(id, work) {
    const startedAt = elapsedMs();
    return runExclusive(id, async () => {
      const key = keyOf(id);
      const owner = randomUUID();
      const release = () => {
        redis.eval(releaseIfOwner, 1, key, owner).catch(() => undefined); // otherwise it expires
      };
      await acquire(key, owner).catch((error: unknown) => {
        release(); // Redis may have executed the command after its time-out
        throw error;
      });
      waited?.observe((elapsedMs() - startedAt) / 1000);
      let isConfirmed = false;
      let wasLost = false;
      const extension = setInterval(() => {
        const extended = isConfirmed
          ? redis.eval(keepAfterSending, 1, key, owner, leaseBeforeSendMs)
          : redis.eval(extendIfOwner, 1, key, owner, leaseMs);
        extended.then(
          (isOwner) => {
            if (isConfirmed && !isOwner) wasLost = true;
          },
          () => undefined, // the next interval tries again
        );
      }, leaseMs / 4);
      async function confirmAndExtend(): Promise<void> {
        let sentAt: number;
        do {
          sentAt = elapsedMs();
          const confirmed = redis.eval(confirmIfOwner, 1, key, owner, leaseBeforeSendMs);
          const isOwner = await confirmed.catch((error: unknown) => {
            throw storeUnavailable(error);
          });
          if (!isOwner || wasLost) throw new LeaseLostError('lease lost');
        } while (elapsedMs() - sentAt > maxConfirmationMs);
        isConfirmed = true;
      }
      try {
        return await work({ confirmAndExtend });
      } finally {
        clearInterval(extension);
        release();
      }
    });
  };
}
