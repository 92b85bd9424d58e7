import { readFileSync } from 'node:fs';
import { auditEvents, providerFailures } from '../../src/audit/audit-events.ts';
import { addProcessMetrics, createMetrics } from '../../src/metrics/metrics.ts';
import { documentedValues, listedLabels } from '../support/documented-metrics.ts';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const page = read('docs/metrics.md');
const rules = read('deploy/prometheus/latchkey-alerts.yml');
const dashboard = JSON.parse(read('deploy/grafana/latchkey-dashboard.json'));

const metrics = createMetrics();
addProcessMetrics(metrics, process.version);
metrics.collectReadiness(async () => ({}));
metrics.collectPendingRevocations(async () => 0);
metrics.collectLiveSessions(async () => 0);
const registered = metrics.registry.getMetricsAsArray();
const kinds = new Map(registered.map((metric) => [metric.name, metric.constructor.name]));

/** The metrics of the tables, with their labels and alerts. */
const documented = [...page.matchAll(/^\| `(\w+)` \|([^|]*)\|(.*)\|([^|]*)\|$/gm)].map(
  ([, name, labels, , alert]) => ({
    name: name!,
    labels: [...labels!.matchAll(/`(\w+)`/g)].map(([, each]) => each!),
    alert: /`(\w+)`/.exec(alert!)?.[1],
  }),
);
const rows = documented.filter(({ name }) => /^(latchkey|nodejs)_/.test(name));
const alerts = [...rules.matchAll(/- alert: (\w+)/g)].map(([, each]) => each!);

test('docs/metrics.md lists every metric of Latchkey with its labels, and no other', async () => {
  const own = await Promise.all(
    registered
      .filter(({ name }) => name.startsWith('latchkey_'))
      .map(async (metric) => ({
        name: metric.name,
        labels: 'labelNames' in metric ? metric.labelNames : [],
      })),
  );
  const byName = (one: { name: string }, other: { name: string }) => one.name.localeCompare(other.name);
  expect(
    rows
      .filter(({ name }) => name.startsWith('latchkey_'))
      .map(({ name, labels }) => ({ name, labels }))
      .sort(byName),
  ).toEqual(own.sort(byName));
  expect(rows.filter(({ name }) => !kinds.has(name))).toEqual([]);
});

test('the names of metrics follow the conventions of Prometheus', () => {
  for (const [name, kind] of kinds) {
    if (!name.startsWith('latchkey_')) continue;
    expect(`${name} ${kind}: ${name.endsWith('_total')}`).toBe(`${name} ${kind}: ${kind === 'Counter'}`);
    if (kind.endsWith('Histogram')) expect(name).toMatch(/_seconds$/);
  }
});

test('docs/metrics.md lists every alert with its severity, and each alert is named by a metric or is LatchkeyDown', () => {
  const severities = [...rules.matchAll(/- alert: (\w+)[\s\S]*?severity: (\w+)/g)].map(
    ([, name, severity]) => [name, severity],
  );
  const listed = [...page.matchAll(/^\| `(Latchkey\w+)` \| (\w+) \|/gm)].map(([, name, severity]) => [
    name,
    severity,
  ]);
  expect(listed).toEqual(severities);
  const named = new Set(rows.map(({ alert }) => alert).filter((each) => each !== undefined));
  expect(alerts.filter((each) => !named.has(each))).toEqual(['LatchkeyDown']);
  expect([...named].filter((each) => !alerts.includes(each))).toEqual([]);
});

test('the metrics and the audit log have the same names for outcomes of logins, ends of sessions and failures of the provider', () => {
  const valuesOf = (metric: string) =>
    documentedValues.filter((each) => each.metric === metric).map(({ value }) => value);
  const { login_failed: login, session_ended: session } = auditEvents;
  const failures = login.reasons.filter((each) => each !== 'invalid_state'); // no login of ours
  expect(new Set(valuesOf('latchkey_logins_total'))).toEqual(new Set(['success', ...failures]));
  expect(new Set(valuesOf('latchkey_sessions_ended_total'))).toEqual(new Set(session.reasons));
  const names: readonly string[] = ['success', 'not_sent', ...providerFailures];
  for (const metric of ['refreshes', 'app_tokens', 'revocations'])
    expect(valuesOf(`latchkey_${metric}_total`).filter((each) => !names.includes(each))).toEqual([]);
});

test('the alert rules and the dashboard use only metrics, labels and values that exist', () => {
  const expressions = [
    ...[...rules.matchAll(/expr: (?:\|\n((?: {10,}.*\n)+)|(.*))/g)].map(([, block, line]) => block ?? line!),
    ...dashboard.panels.flatMap((panel: Panel) => panel.targets?.map(({ expr }) => expr) ?? []),
  ];
  expect(expressions.length).toBeGreaterThan(alerts.length + 10);
  for (const expression of expressions) {
    if (expression.startsWith('up{')) continue; // of Prometheus itself
    const names = [...expression.matchAll(/\b(latchkey|nodejs|process)_\w+/g)].map(([name]) => name);
    expect({ expression, names }).not.toEqual({ expression, names: [] });
    for (const name of names.map((each) => each.replace(/_(bucket|count|sum)$/, ''))) {
      expect([...kinds.keys()]).toContain(name);
      const { labels } = rows.find((each) => each.name === name) ?? { labels: [] };
      const used = [...expression.matchAll(new RegExp(`${name}\\w*\\{([^}]*)\\}`, 'g'))].flatMap(([, list]) =>
        [...list!.matchAll(/(\w+)\s*(?:=~|=|!=|!~)/g)].map(([, label]) => label!),
      );
      expect(used.filter((label) => !['job', 'instance', 'le', ...labels].includes(label))).toEqual([]);
      expect(unknownValues(name, expression)).toEqual([]);
    }
  }
});

/** The values of listed labels, in selectors of this metric, that no value in the documentation matches. */
function unknownValues(metric: string, expression: string): readonly string[] {
  const values = documentedValues.filter((each) => each.metric === metric).map(({ value }) => value);
  return [...expression.matchAll(new RegExp(`${metric}\\w*\\{([^}]*)\\}`, 'g'))]
    .flatMap(([, list]) => [...list!.matchAll(/(\w+)\s*(?:=~|=|!=|!~)\s*"([^"]*)"/g)])
    .filter(([, label]) => listedLabels.has(label!))
    .flatMap(([, , pattern]) => pattern!.split('|'))
    .filter((pattern) => !values.some((value) => new RegExp(`^(?:${pattern})$`).test(value)));
}

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly type: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string; readonly legendFormat?: string }[];
}

test('the dashboard has the form that Grafana imports: unique panels that do not overlap, each with a unit or rows', () => {
  expect(dashboard).toMatchObject({
    uid: 'latchkey',
    title: 'Latchkey',
    schemaVersion: expect.any(Number),
    templating: {
      list: [{ name: 'datasource', type: 'datasource', query: 'prometheus' }, { name: 'instance' }],
    },
  });
  const panels: readonly Panel[] = dashboard.panels;
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) => {
    expect(x + w).toBeLessThanOrEqual(24);
    return Array.from({ length: w * h }, (_, index) => `${x + (index % w)},${y + Math.floor(index / w)}`);
  });
  expect(new Set(cells).size).toBe(cells.length);
  for (const panel of panels.filter(({ type }) => type !== 'row')) {
    expect(panel).toMatchObject({
      title: expect.stringMatching(/./),
      type: expect.stringMatching(/^(timeseries|stat)$/),
      datasource: { type: 'prometheus', uid: `\${datasource}` },
      fieldConfig: { defaults: { unit: expect.any(String) } },
    });
    expect(panel.targets?.length).toBeGreaterThan(0);
  }
});
