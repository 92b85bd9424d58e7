import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { storeUnavailable } from '../errors.ts';
import type { RedisConnection } from './redis-connection.ts';
import { createTurns } from './turns.ts';

const leaseMs = 2_000;
/** A process that is held up for less than this while its question is on the way to the provider loses nothing. */
const sendingLeaseMs = 6_000;
const longestWaitMs = 30_000;
const longestPauseMs = 250;

const extendIfMine = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end`;
const releaseIfMine = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end`;

/** What work knows of the lease it runs in. */
export interface Lease {
  /**
   * Settles when the lease is still ours and stays so for six seconds more, even if this process is held up: to be
   * called right before something that must not happen twice.
   * @throws LeaseLapsed
   */
  holdOn(): Promise<void>;
}

/** This process was held up for longer than its lease, so another may be at the same work. */
export class LeaseLapsed extends Error {
  override readonly name = 'LeaseLapsed';
}

type InLease = <T>(id: string, work: (lease: Lease) => Promise<T>) => Promise<T>;

/**
 * `inLease(id, work)`: as `inTurn`, across every instance on the same Redis. The lease is renewed while `work` runs
 * and lapses by itself when its process dies, so `work` must still write by compare-and-set: a process that was
 * held up may outlive its lease. Whoever waits looks again at growing, random intervals, for 30 s at most.
 * @param keyOf the Redis key of an id's lease
 */
export function createLeases(redis: RedisConnection, keyOf: (id: string) => string): InLease {
  const inTurn = createTurns(); // instances contend for the lease, the requests of one instance do not

  async function acquire(key: string, owner: string): Promise<void> {
    const deadline = Date.now() + longestWaitMs;
    for (let pauseMs = 20; (await redis.set(key, owner, 'PX', leaseMs, 'NX')) === null; ) {
      if (Date.now() > deadline) throw new Error('a lease was not to be had in time');
      await delay(pauseMs * (0.5 + Math.random()));
      pauseMs = Math.min(pauseMs * 1.5, longestPauseMs);
    }
  }

  return function inLease(id, work) {
    return inTurn(id, async () => {
      const key = keyOf(id);
      const owner = randomUUID();
      await acquire(key, owner);
      let lengthMs = leaseMs;
      const extend = () => redis.eval(extendIfMine, 1, key, owner, lengthMs);
      const renewal = setInterval(() => {
        extend().catch(() => undefined); // the next beat tries again
      }, leaseMs / 4);
      async function holdOn(): Promise<void> {
        lengthMs = sendingLeaseMs;
        const isOurs = await extend().catch((error: unknown) => {
          throw storeUnavailable(error);
        });
        if (!isOurs) throw new LeaseLapsed('a lease has lapsed');
      }
      try {
        return await work({ holdOn });
      } finally {
        clearInterval(renewal);
        redis.eval(releaseIfMine, 1, key, owner).catch(() => undefined); // else it lapses by itself
      }
    });
  };
}
