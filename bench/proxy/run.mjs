// node bench/proxy/run.mjs [--rounds 3] [--seconds 5] [--warm-up 5] [--connections 64] [--only bare,floor]
//   [--out FILE.json] [--svg FILE.svg] [--build FOLDER] [--logs FOLDER]
//   [--sessions 10,100000] [--active 1000] [--routes 3,500] [--processes 1,2] [--rate] [--minutes 10] [--profile]
// The CPU time that a signed-in GET costs in Latchkey and in programs that do less, in alternating order. With one of the
// options in the third line, that is measured instead. Exits with 1 if a request failed.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { latchkey } from '../chaos/apps/latchkey.mjs';
import { copyProgram, installPackages, packageVersions } from '../chaos/harness/packages.mjs';
import { writeLogsTo } from '../chaos/harness/processes.mjs';
import { drawChart } from './chart.mjs';
import { contestants, startContestant } from './contestants.mjs';
import { openEnvironment } from './environment.mjs';
import { measureRounds, summarize } from './measure.mjs';
import { measureMemory } from './measurements/memory.mjs';
import { measureProcesses } from './measurements/processes.mjs';
import { measureProfile } from './measurements/profile.mjs';
import { measureAtRate } from './measurements/rate.mjs';
import { measureRoutes } from './measurements/routes.mjs';
import { measureSessions } from './measurements/sessions.mjs';
import { costCells, costColumns, format, printTable, ratio, redisCells, redisColumns } from './tables.mjs';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '5' },
    connections: { type: 'string', default: '64' },
    /** Seconds of load on each contestant before the first round. */
    'warm-up': { type: 'string', default: '5' },
    only: { type: 'string', default: Object.keys(contestants).join(',') },
    sessions: { type: 'string' },
    /** Over how many of these sessions the load is spread. */
    active: { type: 'string', default: '1000' },
    routes: { type: 'string' },
    processes: { type: 'string' },
    rate: { type: 'boolean', default: false },
    minutes: { type: 'string' },
    profile: { type: 'boolean', default: false },
    out: { type: 'string' },
    svg: { type: 'string' },
    build: { type: 'string' },
    logs: { type: 'string' },
  },
});
const names = options.only.split(',');
const unknown = names.filter((name) => !(name in contestants));
if (unknown.length > 0)
  stop(`Unknown: ${unknown.join(', ')}. --only takes ${Object.keys(contestants).join(', ')}`);
const connections = readNumber('connections');
const context = {
  rounds: readNumber('rounds'),
  seconds: readNumber('seconds'),
  warmUpSeconds: readNumber('warm-up'),
  connections,
  users: connections,
  active: readNumber('active'),
};
if (options.logs) {
  mkdirSync(options.logs, { recursive: true });
  writeLogsTo(resolve(options.logs));
}

latchkey.prepare({ build: options.build && resolve(options.build) });
await installPackages();
context.programs = copyProgram(new URL('programs', import.meta.url));
context.worker = join(context.programs, 'load-worker.mjs');

const machine = {
  node: process.version,
  cpu: `${cpus().length} x ${cpus()[0].model.trim()}`,
  redis: /v=(\S+)/.exec(execFileSync('redis-server', ['--version'], { encoding: 'utf8' }))?.[1],
  packages: packageVersions,
};
console.log(`Node.js ${machine.node}, Redis ${machine.redis}, ${machine.cpu}`);

/** Each measurement that was requested, by the name of its option. */
const requested = {
  ...(options.sessions && { sessions: () => measureSessions(context, readNumbers('sessions')) }),
  ...(options.routes && { routes: () => measureRoutes(context, readNumbers('routes')) }),
  ...(options.processes && { processes: () => measureProcesses(context, readNumbers('processes')) }),
  ...(options.rate && { rate: () => measureAtRate(context) }),
  ...(options.profile && { profile: () => measureProfile(context) }),
  ...(options.minutes && { memory: () => measureMemory(context, readNumber('minutes')) }),
};
if (Object.keys(requested).length === 0) requested.comparison = compare;

const results = {};
for (const [name, measure] of Object.entries(requested)) results[name] = await measure();
if (options.out) writeFileSync(options.out, `${JSON.stringify({ machine, options, results }, null, 2)}\n`);

const failures = Object.entries(results).flatMap(([name, result]) =>
  [result]
    .flat()
    .filter((each) => Object.keys(each.failures).length > 0)
    .map((each) => `${each.name ?? name}: ${JSON.stringify(each.failures)}`),
);
if (failures.length > 0) console.error(`\nRequests failed: ${failures.join('; ')}`);
process.exit(failures.length > 0 ? 1 : 0);

/** The table of all contestants. */
async function compare() {
  const environment = await openEnvironment(context);
  try {
    const started = [];
    for (const name of names) started.push(await startContestant(name, environment, context));
    const summaries = (await measureRounds(started, context)).map(summarize);
    const { rounds, seconds } = context;
    const where = environment.isPinned ? 'on a core of its own' : 'on all cores, which the load uses too';
    const how = `median of ${rounds} rounds of ${seconds} s, ${connections} connections, each contestant ${where}`;
    printTable(`A signed-in GET of 1 KB: ${how}`, [
      ['contestant', costColumns[0], 'x bare', 'x floor', ...costColumns.slice(1), ...redisColumns],
      ...summaries.map((result) => {
        const [cpu, ...others] = costCells(result);
        const ratios = ['bare', 'floor'].map((by) => format(ratio(summaries, result, by), 2));
        return [result.name, cpu, ...ratios, ...others, ...redisCells(result)];
      }),
    ]);
    console.log(`\n${names.map((name) => `- ${name}: ${contestants[name]}`).join('\n')}`);
    if (options.svg)
      writeChart(summaries, `Node.js ${process.version}, median of ${rounds} rounds of ${seconds} s`);
    return summaries;
  } finally {
    await environment.close();
  }
}

function writeChart(summaries, subtitle) {
  if (summaries.every(({ cpuMicros }) => cpuMicros !== undefined))
    writeFileSync(options.svg, drawChart(summaries, contestants, subtitle));
  else console.error('No chart: CPU times can only be measured on Linux');
}

function readNumbers(option) {
  const numbers = options[option].split(',').map(Number);
  if (numbers.some((each) => !(each > 0))) stop(`--${option} needs numbers greater than 0`);
  return numbers;
}

function readNumber(option) {
  return readNumbers(option)[0];
}

function stop(message) {
  console.error(message);
  process.exit(2);
}
