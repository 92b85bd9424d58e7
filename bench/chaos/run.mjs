// node bench/chaos/run.mjs [scenario...] [--short] [--out FILE.json] [--logs FOLDER] [--build FOLDER] [--env NAME=VALUE]
// Runs all scenarios, or those named, and prints each promise with what was measured. Exits with 1 when a promise was
// broken or not checked.
import { mkdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { latchkey } from './apps/latchkey.mjs';
import { startDeployment } from './harness/deployment.mjs';
import { writeLogsTo } from './harness/processes.mjs';
import { createReport, printScenario, printSummary } from './harness/report.mjs';
import { mapConcurrently } from './harness/wait-for.mjs';
import { groups, shortConcurrency, shortOrder } from './scenarios.mjs';

const { values: options, positionals: requested } = parseArgs({
  allowPositionals: true,
  options: {
    short: { type: 'boolean', default: false },
    out: { type: 'string' },
    /** A folder for the logs of all processes. */
    logs: { type: 'string' },
    /** A folder with a built main.js, used instead of building src/. */
    build: { type: 'string' },
    /** A variable for every process of the app. */
    env: { type: 'string', multiple: true, default: [] },
  },
});
const names = groups.flat().map(({ name }) => name);
const unknown = requested.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`Unknown scenario: ${unknown.join(', ')}. Scenarios: ${names.join(', ')}`);
  process.exit(2);
}
if (options.logs) {
  mkdirSync(options.logs, { recursive: true });
  writeLogsTo(resolve(options.logs));
}

const app = latchkey;
const env = Object.fromEntries(options.env.map(parseVariable));
app.prepare({ build: options.build && resolve(options.build), env });

const results = [];
const startedAt = performance.now();
const isRequested = ({ name }) => requested.length === 0 || requested.includes(name);
if (options.short) await mapConcurrently(shortOrder.filter(isRequested), shortConcurrency, run);
else for (const group of groups) await Promise.all(group.filter(isRequested).map(run));
const seconds = (performance.now() - startedAt) / 1000;
results.sort((a, b) => names.indexOf(a.scenario) - names.indexOf(b.scenario)); // they end in another order
printSummary(results);

const rows = results.flatMap(({ rows: all }) => all);
const count = (result) => rows.filter((row) => row.result === result).length;
const isKept = count('OK') === rows.length && results.every(({ error }) => !error);
const form = [app.name, ...(options.short ? ['short form'] : []), ...options.env].join(', ');
console.log(
  `\n${form}: ${count('OK')} promises kept, ${count('BROKEN')} broken, ${count('NOT RUN')} not run, in ${seconds.toFixed(0)} s`,
);
if (options.out) {
  const report = {
    app: app.name,
    short: options.short,
    env,
    node: process.version,
    seconds,
    isKept,
    results,
  };
  writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
}
process.exit(isKept ? 0 : 1);

function parseVariable(text) {
  const [, name, value] = /^(\w+)=(.*)$/.exec(text) ?? [];
  if (name !== undefined) return [name, value];
  console.error(`--env ${text}: must be NAME=VALUE`);
  process.exit(2);
}

/** Runs one scenario, and closes everything it opened even when it fails. */
async function run(scenario) {
  const report = createReport(scenario);
  const opened = [];
  const closeAtEnd = (resource) => {
    opened.push(resource);
    return resource;
  };
  const scenarioStartedAt = performance.now();
  let error;
  try {
    await scenario.run({
      app,
      short: options.short,
      check: report.check,
      note: report.note,
      setTable: report.setTable,
      setTimeline: report.setTimeline,
      deploy: async (settings) =>
        closeAtEnd(await startDeployment(app, { label: scenario.name, ...settings })),
      closeAtEnd,
    });
  } catch (failure) {
    error = failure.stack;
  }
  // A resource that fails to close ends with this process.
  for (const resource of opened.reverse()) await Promise.resolve(resource.close()).catch(() => {});
  const result = report.result({
    description: scenario.describe(options.short),
    seconds: (performance.now() - scenarioStartedAt) / 1000,
    ...(error && { error }),
  });
  printScenario(result);
  results.push(result);
}
