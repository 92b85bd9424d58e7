import { Redis } from 'ioredis';

/** The URL of this test worker's own database: tests of other workers run at the same time. */
export function testRedisUrl(): string {
  const url = new URL(process.env.TEST_REDIS_URL!);
  url.pathname = `/${Number(process.env.JEST_WORKER_ID ?? 0) % 16}`;
  return url.href;
}

/** Lets time pass for the pauses after failures, which only Redis measures, in this worker's database. */
export async function advanceFailurePauses(seconds: number): Promise<void> {
  const redis = new Redis(testRedisUrl());
  try {
    for (const key of await redis.keys('*:failure')) {
      const leftMs = (await redis.pttl(key)) - seconds * 1000;
      if (leftMs > 0) await redis.pexpire(key, leftMs);
      else await redis.del(key);
    }
  } finally {
    redis.disconnect();
  }
}
