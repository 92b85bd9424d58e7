import { Redis } from 'ioredis';

/** The URL of a database that no other test worker uses at the same time. */
export function testRedisUrl(): string {
  const worker = Number(process.env.JEST_WORKER_ID ?? 0);
  const servers = process.env.TEST_REDIS_URL!.split(' ');
  const url = new URL(servers[worker % servers.length]!);
  url.pathname = `/${worker % 16}`;
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
