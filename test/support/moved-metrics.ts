import { setTimeout as delay } from 'node:timers/promises';
import type { Latchkey } from './latchkey.ts';
import { differences, type Scrape, scrape } from './scrape.ts';

/** Generous, for a busy machine: it only bounds how long a failing test takes. */
const maxWaitMs = 20_000;

/** Settles when the condition is true. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const deadline = Date.now() + maxWaitMs; !(await condition()); await delay(10))
    if (Date.now() > deadline) throw new Error(`not within ${maxWaitMs / 1000} seconds: ${what}`);
}

/**
 * The series that the tests of a file have seen, and those that have moved. Labels are texts such as `status="2xx"`, or
 * `="2xx"` for any label with this value.
 */
export function createMovedMetrics() {
  const seen = new Set<string>();
  const moved = new Set<string>();
  const last = new WeakMap<object, Scrape>();

  /** Compares with the last look at this instance. The first look only remembers the values. */
  async function look(instance: Pick<Latchkey, 'deps'>): Promise<Scrape> {
    const now = await scrape(instance);
    const before = last.get(instance) ?? now;
    for (const series of now.keys()) seen.add(series);
    for (const series of Object.keys(differences(before, now))) moved.add(series);
    last.set(instance, now);
    return now;
  }

  /** True if a series of this metric with all these labels has moved. */
  function hasMoved(metric: string, ...labels: readonly string[]): boolean {
    return [...moved].some(
      (series) =>
        metricOf(series) === metric &&
        labels.every((label) => series.split(/[{},]/).some((each) => each.endsWith(label))),
    );
  }

  /** Looks at this instance until a series of this metric with all these labels has moved. */
  async function untilMoved(
    instance: Pick<Latchkey, 'deps'>,
    metric: string,
    ...labels: readonly string[]
  ): Promise<void> {
    await until(async () => {
      await look(instance);
      return hasMoved(metric, ...labels);
    }, `${metric}{${labels}} has moved`);
  }

  return { seen, look, hasMoved, untilMoved };
}

/** The metric that a series belongs to. */
export function metricOf(series: string): string {
  return series.split('{')[0]!.replace(/_(bucket|count|sum)$/, '');
}
