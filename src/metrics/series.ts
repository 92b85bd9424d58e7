import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

// The series of these metrics are plain objects. Labels are resolved once, when a series is created, so that an update
// during a request is a single addition. prom-client only formats the values.

type Labels<L extends string> = Readonly<Record<L, string>>;

export interface MetricOptions<L extends string> {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly L[];
  readonly registry: Registry;
}

export interface CounterSeries {
  /** @param by one, unless stated */
  increment(by?: number): void;
}

export interface GaugeSeries {
  set(value: number): void;
}

export interface HistogramSeries {
  observe(value: number): void;
}

/** Returns the series with these labels, and creates it on first use. */
export type SeriesOf<L extends string, S> = (labels: Labels<L>) => S;

/**
 * The labels come from the configuration and from our own lists; this limit only protects against a mistake in them.
 */
const maxSeries = 5_000;

/** Calls `create` once for each set of labels, and returns the same object from then on. */
function remember<L extends string, S>(
  labelNames: readonly L[],
  create: (labels: Labels<L>, stored: boolean) => S,
): SeriesOf<L, S> {
  const known = new Map<string, S>();
  return function seriesOf(labels) {
    const key = labelNames.map((name) => labels[name]).join('\0');
    const existing = known.get(key);
    if (existing !== undefined) return existing;
    const created = create(labels, known.size < maxSeries);
    if (known.size < maxSeries) known.set(key, created);
    return created;
  };
}

/** A counter. A series appears with 0 as soon as it is created. */
export function createCounter<L extends string>(options: MetricOptions<L>): SeriesOf<L, CounterSeries> {
  const { registry, labelNames, ...description } = options;
  const all: { readonly labels: Labels<L>; value: number }[] = [];
  new Counter({
    ...description,
    labelNames: [...labelNames],
    registers: [registry],
    collect() {
      this.reset();
      for (const { labels, value } of all) this.inc({ ...labels }, value);
    },
  });
  return remember(labelNames, (labels, isStored) => {
    const series = { labels, value: 0 };
    if (isStored) all.push(series);
    return {
      increment(by = 1) {
        series.value += by;
      },
    };
  });
}

/** A gauge; `set` on a series sets its value. */
export function createGauge<L extends string>(options: MetricOptions<L>): SeriesOf<L, GaugeSeries> {
  const { registry, labelNames, ...description } = options;
  const gauge = new Gauge({ ...description, labelNames: [...labelNames], registers: [registry] });
  return remember(labelNames, (labels) => ({ set: (value) => gauge.set({ ...labels }, value) }));
}

interface Distribution<L extends string> {
  readonly labels: Labels<L>;
  /**
   * The number of values in each bucket, without those in smaller buckets; the last element counts all larger values.
   */
  readonly counts: number[];
  sum: number;
}

class PlainHistogram<L extends string> extends Histogram<L> {
  readonly #buckets: readonly number[];
  readonly #all: readonly Distribution<L>[];
  readonly #description: { readonly name: string; readonly help: string; readonly aggregator: 'sum' };

  constructor(options: MetricOptions<L>, buckets: readonly number[], all: readonly Distribution<L>[]) {
    const { registry, labelNames, name, help } = options;
    super({ name, help, labelNames: [...labelNames], buckets: [...buckets], registers: [registry] });
    this.#buckets = buckets;
    this.#all = all;
    this.#description = { name, help, aggregator: 'sum' };
  }

  /** The registry and `get` call this; the types of prom-client do not declare it. */
  async getForPromString() {
    const { name, help, aggregator } = this.#description;
    return {
      name,
      help,
      type: 'histogram',
      aggregator,
      values: this.#all.flatMap((each) => this.#valuesOf(each)),
    };
  }

  #valuesOf({ labels: sharedLabels, counts, sum }: Distribution<L>) {
    const { name } = this.#description;
    let count = 0;
    const buckets = counts.map((each, index) => {
      count += each;
      return {
        metricName: `${name}_bucket`,
        labels: { le: this.#buckets[index] ?? '+Inf' },
        sharedLabels,
        value: count,
      };
    });
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels: {}, sharedLabels, value: sum },
      { metricName: `${name}_count`, labels: {}, sharedLabels, value: count },
    ];
  }
}

/** A histogram; `buckets` are the upper bounds, smallest first. */
export function createHistogram<L extends string>(
  options: MetricOptions<L>,
  buckets: readonly number[],
): SeriesOf<L, HistogramSeries> {
  const all: Distribution<L>[] = [];
  new PlainHistogram(options, buckets, all);
  return remember(options.labelNames, (labels, isStored) => {
    const series = { labels, counts: new Array<number>(buckets.length + 1).fill(0), sum: 0 };
    if (isStored) all.push(series);
    return {
      observe(value) {
        let index = 0;
        while (index < buckets.length && value > (buckets[index] ?? 0)) index += 1;
        series.counts[index] = (series.counts[index] ?? 0) + 1;
        series.sum += value;
      },
    };
  });
}
