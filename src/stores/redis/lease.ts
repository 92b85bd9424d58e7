import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { storeUnavailable } from '../../errors.ts';
import { LeaseLostError } from '../../tokens/token-store.ts';
import { createKeyedMutex } from '../keyed-mutex.ts';
import type { RedisConnection } from './connection.ts';

const leaseMs = 2_000;
/** A process that is held up for less than this while its question is on the way to the provider loses nothing. */
const leaseBeforeSendMs = 6_000;
const maxWaitMs = 30_000;
const maxPauseMs = 250;

const extendIfOwner = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end`;
const releaseIfOwner = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end`;

/** What work knows of the lease it runs in. */
export interface Lease {
  /**
   * Settles when the lease is still ours and stays so for six seconds more, even if this process is held up: to be
   * called right before something that must not happen twice.
   * @throws LeaseLostError
   */
  confirmAndExtend(): Promise<void>;
}

type WithLease = <T>(id: string, work: (lease: Lease) => Promise<T>) => Promise<T>;

/**
 * `withLease(id, work)`: as `runExclusive`, across every instance on the same Redis. The lease is renewed while `work` runs
 * and lapses by itself when its process dies, so `work` must still write by compare-and-set: a process that was
 * held up may outlive its lease. Whoever waits looks again at growing, random intervals, for 30 s at most.
 * @param keyOf the Redis key of an id's lease
 */
export function createLeases(redis: RedisConnection, keyOf: (id: string) => string): WithLease {
  const runExclusive = createKeyedMutex(); // instances contend for the lease, the requests of one instance do not

  async function acquire(key: string, owner: string): Promise<void> {
    const deadline = Date.now() + maxWaitMs;
    for (let pauseMs = 20; (await redis.set(key, owner, 'PX', leaseMs, 'NX')) === null; ) {
      if (Date.now() > deadline) throw new Error('a lease was not to be had in time');
      await delay(pauseMs * (0.5 + Math.random()));
      pauseMs = Math.min(pauseMs * 1.5, maxPauseMs);
    }
  }

  return function withLease(id, work) {
    return runExclusive(id, async () => {
      const key = keyOf(id);
      const owner = randomUUID();
      await acquire(key, owner);
      let lengthMs = leaseMs;
      const extend = () => redis.eval(extendIfOwner, 1, key, owner, lengthMs);
      const extension = setInterval(() => {
        extend().catch(() => undefined); // the next beat tries again
      }, leaseMs / 4);
      async function confirmAndExtend(): Promise<void> {
        lengthMs = leaseBeforeSendMs;
        const isOwner = await extend().catch((error: unknown) => {
          throw storeUnavailable(error);
        });
        if (!isOwner) throw new LeaseLostError('a lease has lapsed');
      }
      try {
        return await work({ confirmAndExtend });
      } finally {
        clearInterval(extension);
        redis.eval(releaseIfOwner, 1, key, owner).catch(() => undefined); // else it lapses by itself
      }
    });
  };
}
