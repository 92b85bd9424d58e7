import type { Modules } from './modules.ts';
import type { Schedule, Step } from './schedule.ts';
import { type RunResult, runSchedule } from './world.ts';

const maxRuns = 400;

/** A schedule that breaks the same claim with fewer steps, and its run with a timeline. */
export async function shrink(
  modules: Modules,
  schedule: Schedule,
  seed: number,
): Promise<{ readonly steps: readonly Step[]; readonly result: RunResult }> {
  const first = await runSchedule(modules, schedule, seed, true);
  const claim = first.history.violations[0]?.claim;
  let best = { steps: schedule.steps, result: first };
  let runs = 0;
  for (let chunk = Math.ceil(schedule.steps.length / 2); chunk >= 1 && runs < maxRuns; ) {
    let hasShrunk = false;
    for (let start = 0; start < best.steps.length && runs < maxRuns; start += chunk) {
      const steps = best.steps.toSpliced(start, chunk);
      runs += 1;
      const result = await runSchedule(modules, { ...schedule, steps }, seed, true);
      if (!result.history.violations.some((each) => each.claim === claim)) continue;
      best = { steps, result };
      hasShrunk = true;
      start -= chunk;
    }
    if (!hasShrunk) chunk = Math.floor(chunk / 2);
  }
  return best;
}
