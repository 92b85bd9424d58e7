import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadModules } from './modules.ts';
import { createSchedule, profiles } from './profiles.ts';
import { replaceGlobals } from './virtual-time.ts';
import { runSchedule } from './world.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    from: { type: 'string', default: '1' },
    profile: { type: 'string' },
    timeline: { type: 'boolean', default: false },
    build: { type: 'string', default: fileURLToPath(new URL('../../dist', import.meta.url)) },
  },
});
const realNow = performance.now.bind(performance);
replaceGlobals();
const modules = await loadModules(values.build);
process.on('unhandledRejection', (error) => {
  console.error('unhandled rejection', error);
  process.exitCode = 1;
});

const names = values.profile === undefined ? Object.keys(profiles) : values.profile.split(',');
for (const name of names) {
  const startedAt = realNow();
  const accepted = new Map<string, number>();
  let [events, refreshes, requests] = [0, 0, 0];
  const failed: string[] = [];
  for (let seed = Number(values.from); seed < Number(values.from) + Number(values.seeds); seed += 1) {
    const result = await runSchedule(modules, createSchedule(name, seed), seed, values.timeline);
    if (values.timeline) console.log(result.history.timeline.join('\n'));
    events += result.events;
    refreshes += result.refreshes;
    requests += result.requests;
    for (const [reason, count] of result.history.accepted)
      accepted.set(reason, (accepted.get(reason) ?? 0) + count);
    for (const { claim, text, atMs } of result.history.violations)
      failed.push(`seed ${seed} at ${(atMs / 1000).toFixed(2)} s: ${claim}: ${text}`);
  }
  console.log(
    `${name}: ${values.seeds} seeds, ${events} events, ${requests} requests, ${refreshes} refreshes, ${((realNow() - startedAt) / 1000).toFixed(1)} s`,
  );
  for (const [reason, count] of accepted) console.log(`  accepted ${count} times: ${reason}`);
  for (const each of failed) console.log(`  VIOLATION ${each}`);
  if (failed.length > 0) process.exitCode = 1;
}
