import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { directedSchedules } from './directed.ts';
import { loadModules, type Modules } from './modules.ts';
import { mutants, withMutant } from './mutants.ts';
import { createSchedule, profiles } from './profiles.ts';
import type { Schedule } from './schedule.ts';
import { shrink } from './shrink.ts';
import { replaceGlobals } from './virtual-time.ts';
import { type RunResult, runSchedule } from './world.ts';

const usage = `npm run simulate -- [options]
  --seeds N        how many seeds of each profile (100)
  --from N         the first seed (1)
  --profile P,Q    only these profiles
  --directed       the directed schedules instead of seeds
  --only NAME      only this directed schedule, or only mutants whose name contains this
  --mutants        checks that the simulation finds each mutant; with --seeds, also counts seeds
  --timeline       prints the timeline of every run
  --build DIR      another build of src/`;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    from: { type: 'string', default: '1' },
    profile: { type: 'string' },
    directed: { type: 'boolean', default: false },
    only: { type: 'string' },
    mutants: { type: 'boolean', default: false },
    timeline: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
    build: { type: 'string', default: fileURLToPath(new URL('../../dist', import.meta.url)) },
  },
});
const realNow = performance.now.bind(performance);
replaceGlobals();
process.on('unhandledRejection', (error) => {
  console.error('unhandled rejection', error);
  process.exitCode = 1;
});

if (values.help) console.log(usage);
else if (values.mutants) await runMutants();
else {
  const modules = await loadModules(values.build);
  if (values.directed) await runDirected(modules);
  else await runProfiles(modules);
}

async function runProfiles(modules: Modules): Promise<void> {
  const names = values.profile?.split(',') ?? Object.keys(profiles);
  const [first, count] = [Number(values.from), Number(values.seeds ?? 100)];
  for (const name of names) {
    const startedAt = realNow();
    const accepted = new Map<string, number>();
    const totals = { events: 0, requests: 0, refreshes: 0, failed: 0 };
    for (let seed = first; seed < first + count; seed += 1) {
      const schedule = createSchedule(name, seed);
      const result = await runSchedule(modules, schedule, seed, values.timeline);
      if (values.timeline) console.log(result?.history.timeline.join('\n'));
      for (const key of ['events', 'requests', 'refreshes'] as const) totals[key] += result[key];
      for (const [reason, times] of result.history.accepted)
        accepted.set(reason, (accepted.get(reason) ?? 0) + times);
      if (result.history.violations.length > 0) {
        totals.failed += 1;
        await reportFailure(modules, `${name}, seed ${seed}`, schedule, seed, totals.failed <= 3);
      }
    }
    const seconds = ((realNow() - startedAt) / 1000).toFixed(0);
    console.log(
      `${name}: ${count} seeds from ${first}, ${totals.events} events, ${totals.requests} requests, ${totals.refreshes} refreshes, ${totals.failed} seeds with violations (${seconds} s)`,
    );
    for (const [reason, times] of [...accepted].sort()) console.log(`  accepted ${times} times: ${reason}`);
  }
}

/** Prints what a run has broken, and the timeline of a smaller run that breaks it too. */
async function reportFailure(
  modules: Modules,
  name: string,
  schedule: Schedule,
  seed: number,
  isShrunk: boolean,
): Promise<void> {
  process.exitCode = 1;
  if (!isShrunk) return console.log(`VIOLATION: ${name}`);
  const { steps, result } = await shrink(modules, schedule, seed);
  console.log(`VIOLATION: ${name}, ${steps.length} of ${schedule.steps.length} steps:`);
  console.log(result.history.timeline.map((line) => `    ${line}`).join('\n'));
}

async function runDirected(modules: Modules): Promise<void> {
  for (const [name, { describe, schedules }] of Object.entries(directedSchedules)) {
    if (values.only !== undefined && name !== values.only) continue;
    let result: RunResult | undefined;
    for (const schedule of schedules) {
      result = await runSchedule(modules, schedule, 1, true);
      if (problemOf(result)) break;
    }
    const problem = result && problemOf(result);
    if (problem !== undefined) process.exitCode = 1;
    console.log(
      `${problem === undefined ? 'holds' : 'FAILS'}  ${name}: ${describe}${problem ? `\n       ${problem}` : ''}`,
    );
    if (values.timeline) console.log(result?.history.timeline.map((line) => `    ${line}`).join('\n'));
  }
}

/** In a directed schedule, nothing is accepted but what its description says. */
function problemOf({ history }: RunResult): string | undefined {
  return history.violations.map(({ claim, text }) => `${claim}: ${text}`)[0];
}

async function runMutants(): Promise<void> {
  const seeds = Number(values.seeds ?? 0);
  for (const mutant of mutants.filter(({ name }) => name.includes(values.only ?? ''))) {
    await withMutant(values.build, mutant, async (build) => {
      const modules = await loadModules(build);
      const found: string[] = [];
      for (const name of mutant.directed)
        for (const schedule of directedSchedules[name]!.schedules)
          if (!found.includes(name) && problemOf(await runSchedule(modules, schedule, 1))) found.push(name);
      const bySeeds: string[] = [];
      for (const name of seeds > 0 ? mutant.profiles : []) {
        let failed = 0;
        for (let seed = 1; seed <= seeds; seed += 1)
          if (problemOf(await runSchedule(modules, createSchedule(name, seed), seed))) failed += 1;
        bySeeds.push(`${name} ${failed} of ${seeds} seeds`);
      }
      const isFound = found.length === mutant.directed.length;
      if (!isFound) process.exitCode = 1;
      console.log(
        `${isFound ? 'found' : 'NOT FOUND'}  ${mutant.name}: ${[...found, ...bySeeds].join(', ') || 'by nothing'}`,
      );
    });
  }
}
