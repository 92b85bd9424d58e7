import { setTimeout as delay } from 'node:timers/promises';

export { delay };

/** Asks until the answer is truthy; the answer, or undefined when the time is over. */
export async function until(question, timeoutMs, everyMs = 50) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const answer = await question();
    if (answer) return answer;
    if (Date.now() > deadline) return undefined;
    await delay(everyMs);
  }
}

/** Works through a list, so many at a time; the results in the order of the list. */
export async function eachOf(list, atOnce, work) {
  const queue = [...list.entries()];
  const results = [];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let next = queue.shift(); next; next = queue.shift()) results[next[0]] = await work(next[1]);
    }),
  );
  return results;
}
