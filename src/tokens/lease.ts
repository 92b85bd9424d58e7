import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { RedisConnection } from './redis-connection.ts';
import { createTurns, type InTurn } from './turns.ts';

const leaseMs = 2_000;
const longestWaitMs = 30_000;
const longestPauseMs = 250;

const extendIfMine = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end`;
const releaseIfMine = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end`;

/**
 * `inLease(id, work)`: as `inTurn`, across every instance on the same Redis. The lease is renewed while `work` runs
 * and lapses by itself when its process dies, so `work` must still write by compare-and-set: a process that was
 * held up may outlive its lease. Whoever waits looks again at growing, random intervals, for 30 s at most.
 */
export function createLeases(redis: RedisConnection): InTurn {
  const inTurn = createTurns(); // instances contend for the lease, the requests of one instance do not

  async function acquire(key: string, owner: string): Promise<void> {
    const deadline = Date.now() + longestWaitMs;
    for (let pauseMs = 20; (await redis.set(key, owner, 'PX', leaseMs, 'NX')) === null; ) {
      if (Date.now() > deadline) throw new Error('the lease of a session was not to be had in time');
      await delay(pauseMs * (0.5 + Math.random()));
      pauseMs = Math.min(pauseMs * 1.5, longestPauseMs);
    }
  }

  return function inLease(id, work) {
    return inTurn(id, async () => {
      const key = `{sess:${id}}:lease`;
      const owner = randomUUID();
      await acquire(key, owner);
      const renewal = setInterval(() => {
        redis.eval(extendIfMine, 1, key, owner, leaseMs).catch(() => undefined); // the next beat tries again
      }, leaseMs / 4);
      try {
        return await work();
      } finally {
        clearInterval(renewal);
        redis.eval(releaseIfMine, 1, key, owner).catch(() => undefined); // else it lapses by itself
      }
    });
  };
}
