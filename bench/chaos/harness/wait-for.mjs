import { setTimeout as delay } from 'node:timers/promises';

export { delay };

/** Polls `condition` until it returns something truthy, and returns that; undefined after the timeout. */
export async function waitFor(condition, timeoutMs, intervalMs = 50) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > deadline) return undefined;
    await delay(intervalMs);
  }
}

/** Maps a list with at most `concurrency` calls at a time; results are in the order of the list. */
export async function mapConcurrently(list, concurrency, map) {
  const queue = [...list.entries()];
  const results = [];
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      for (let next = queue.shift(); next; next = queue.shift()) results[next[0]] = await map(next[1]);
    }),
  );
  return results;
}
