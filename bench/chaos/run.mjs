// node bench/chaos/run.mjs [scenario...] [--short] [--out FILE.json] [--logs FOLDER] [--build FOLDER]
// Runs the scenarios (all of them unless named), prints what each promised and what was measured, and exits with 1
// when a promise was broken or not checked.
import { mkdirSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { latchkey } from './apps/latchkey.mjs';
import { keepLogsIn } from './harness/children.mjs';
import { createReport, printScenario, printSummary } from './harness/report.mjs';
import { eachOf } from './harness/waiting.mjs';
import { openWorld } from './harness/world.mjs';
import { lanesOfShort, rounds, shortOrder } from './scenarios.mjs';

const { values: options, positionals: wanted } = parseArgs({
  allowPositionals: true,
  options: {
    short: { type: 'boolean', default: false },
    out: { type: 'string' },
    /** Keeps what the processes log. */
    logs: { type: 'string' },
    /** A folder with a built main.js, instead of building src/. */
    build: { type: 'string' },
  },
});
const names = rounds.flat().map(({ name }) => name);
const unknown = wanted.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`No scenario ${unknown.join(', ')}. There are: ${names.join(', ')}`);
  process.exit(2);
}
if (options.logs) {
  mkdirSync(options.logs, { recursive: true });
  keepLogsIn(resolve(options.logs));
}

const app = latchkey;
app.prepare({ build: options.build && resolve(options.build) });

const results = [];
const begun = performance.now();
const isChosen = ({ name }) => wanted.length === 0 || wanted.includes(name);
if (options.short) await eachOf(shortOrder.filter(isChosen), lanesOfShort, run);
else for (const round of rounds) await Promise.all(round.filter(isChosen).map(run));
const seconds = (performance.now() - begun) / 1000;
results.sort((a, b) => names.indexOf(a.scenario) - names.indexOf(b.scenario)); // as they stand, not as they ended
printSummary(results);

const rows = results.flatMap(({ rows: all }) => all);
const count = (result) => rows.filter((row) => row.result === result).length;
const isKept = count('OK') === rows.length && results.every(({ error }) => !error);
console.log(
  `\n${app.name}${options.short ? ', short form' : ''}: ${count('OK')} kept, ${count('BROKEN')} broken, ${count('NOT RUN')} not run, in ${seconds.toFixed(0)} s`,
);
if (options.out) {
  const machine = { app: app.name, short: options.short, node: process.version, seconds, isKept, results };
  writeFileSync(options.out, `${JSON.stringify(machine, null, 2)}\n`);
}
process.exit(isKept ? 0 : 1);

/** One scenario in a world of its own, which is closed afterwards whatever happened. */
async function run(scenario) {
  const report = createReport(scenario);
  const opened = [];
  const closing = (thing) => {
    opened.push(thing);
    return thing;
  };
  const startedAt = performance.now();
  let error;
  try {
    await scenario.run({
      app,
      short: options.short,
      check: report.check,
      note: report.note,
      tabulate: report.tabulate,
      open: async (how) => closing(await openWorld(app, { label: scenario.name, ...how })),
      /** Closes with the scenario. */
      closing,
    });
  } catch (failure) {
    error = failure.stack;
  }
  // What does not close ends with this process.
  for (const thing of opened.reverse()) await Promise.resolve(thing.close()).catch(() => {});
  const took = (performance.now() - startedAt) / 1000;
  const result = report.result({
    done: scenario.done(options.short),
    seconds: took,
    ...(error && { error }),
  });
  printScenario(result);
  results.push(result);
}
