import type { Latchkey } from './latchkey.ts';

/** The values of one scrape, by series as in the text format: `name` or `name{label="value"}`. */
export type Scrape = ReadonlyMap<string, number>;

export async function scrape({ deps }: Pick<Latchkey, 'deps'>): Promise<Scrape> {
  return parseScrape(await deps.metrics.registry.metrics());
}

export function parseScrape(text: string): Scrape {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const end = line.lastIndexOf(' ');
      return [line.slice(0, end), Number(line.slice(end + 1))];
    }),
  );
}

/** What has changed between two scrapes, without the sums and buckets of histograms. */
export function differences(before: Scrape, after: Scrape): Record<string, number> {
  const changed = [...after].filter(
    ([series, value]) => value !== (before.get(series) ?? 0) && !/_(bucket|sum)(\{|$)/.test(series),
  );
  return Object.fromEntries(changed.map(([series, value]) => [series, value - (before.get(series) ?? 0)]));
}
