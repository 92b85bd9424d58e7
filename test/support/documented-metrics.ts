import { readFileSync } from 'node:fs';

const readDoc = (name: string) => readFileSync(new URL(`../../docs/${name}.md`, import.meta.url), 'utf8');
const page = readDoc('metrics');
const codesIn = (text: string) => [...text.matchAll(/`([^`]+)`/g)].map(([, each]) => each!);

/** A value of a label of a metric. */
interface DocumentedValue {
  readonly metric: string;
  readonly value: string;
}

/** What the last column of the table of outcomes calls each counter, and the operation at the provider that it counts. */
const counters: Readonly<Record<string, { readonly metric: string; readonly operation: string }>> = {
  logins: { metric: 'latchkey_logins_total', operation: 'authorization_code' },
  refreshes: { metric: 'latchkey_refreshes_total', operation: 'refresh_token' },
  'app tokens': { metric: 'latchkey_app_tokens_total', operation: 'client_credentials' },
  revocations: { metric: 'latchkey_revocations_total', operation: 'revocation' },
};

/** Each outcome in the table of outcomes, with the counters that can have it. */
const outcomes = [...page.matchAll(/^\| ((?:`\w+` ?)+)\|[^|]*\| ([a-z, ]+) \|$/gm)].flatMap(
  ([, names, of]) => {
    const counted = of === 'all' ? Object.keys(counters) : of!.split(', ');
    return codesIn(names!).map((outcome) => ({
      outcome,
      isOfAll: of === 'all',
      counters: counted.map((name) => counters[name]!),
    }));
  },
);

const rows = [...page.matchAll(/^\| `(latchkey_\w+)` \|([^|]*)\|(.*)\|[^|]*\|$/gm)].map(
  ([, metric, labels, meaning]) => ({
    metric: metric!,
    labels: codesIn(labels!),
    codes: codesIn(meaning!),
  }),
);

/** What the meanings of metrics with labels have in backquotes that is no value of a label. */
const otherCodes = new Set([
  ...['/healthz', '/readyz', 'stream', 'Retry-After', 'latchkey sessions end', 'rate'],
  ...['REDIS_URL', 'AUTH_RATE_LIMIT', 'SESSION_MAX_PER_USER'],
]);

/** The metrics in docs/metrics.md. */
export const documentedMetrics: readonly string[] = rows.map(({ metric }) => metric);

/** The values of labels in docs/metrics.md, and the limits in docs/limits.md, which have the names of settings. */
export const documentedValues: readonly DocumentedValue[] = [
  ...rows.flatMap(({ metric, labels, codes }) =>
    labels.length === 0
      ? []
      : codes
          .filter((code) => !labels.includes(code) && !otherCodes.has(code))
          .map((value) => ({ metric, value })),
  ),
  ...codesIn(readDoc('limits'))
    .filter((code) => /^MAX_[A-Z_]+$/.test(code))
    .map((value) => ({ metric: 'latchkey_limit_rejections_total', value })),
  ...outcomes.flatMap((each) => each.counters.map(({ metric }) => ({ metric, value: each.outcome }))),
];

/** Each operation at the provider with each outcome that all operations can have. */
export const documentedOperations: readonly (readonly [operation: string, outcome: string])[] = outcomes
  .filter(({ isOfAll }) => isOfAll)
  .flatMap(({ outcome }) => Object.values(counters).map(({ operation }) => [operation, outcome] as const));

/** The labels whose values docs/metrics.md lists. */
export const listedLabels: ReadonlySet<string> = new Set([
  'outcome',
  'reason',
  'kind',
  'limit',
  'with',
  'part',
  'operation',
]);

/** False if docs/metrics.md lists the values of this label of the metric, and not this one. */
export function isDocumented(metric: string, label: string, value: string): boolean {
  if (!listedLabels.has(label)) return true;
  if (label === 'limit' && /^rate [A-Z]+ \//.test(value)) return true; // the method and path of a route
  if (metric === 'latchkey_provider_request_duration_seconds' && label === 'outcome')
    return outcomes.some(({ outcome }) => outcome === value);
  return documentedValues.some((each) => each.metric === metric && each.value === value);
}
