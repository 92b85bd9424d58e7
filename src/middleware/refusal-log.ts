import type { Logger } from '../logger.ts';
import type { CounterSeries } from '../metrics/series.ts';
import { elapsedMs } from '../time/elapsed.ts';

const intervalMs = 60_000;

/**
 * A function that counts a refusal and logs it as a warning, at most once a minute with the number of refusals since the last line:
 * how many there are is up to strangers.
 * @param facts what identifies the limit
 */
export function createRefusalLog(
  log: Logger,
  facts: Readonly<Record<string, unknown>>,
  message: string,
  counter: CounterSeries,
): () => void {
  let refused = 0;
  let nextLineAt = 0;
  return () => {
    counter.increment();
    refused += 1;
    if (elapsedMs() < nextLineAt) return;
    log.warn({ ...facts, refused }, message);
    nextLineAt = elapsedMs() + intervalMs;
    refused = 0;
  };
}
