import { checkContestant, startLatchkey } from '../contestants.mjs';
import { openEnvironment } from '../environment.mjs';
import { measureRounds, summarize } from '../measure.mjs';
import { costCells, costColumns, format, printTable, redisCells, redisColumns } from '../tables.mjs';

/** The cost of a request with different numbers of processes behind the load, which share one Redis and all sessions. */
export async function measureProcesses(context, counts) {
  const environment = await openEnvironment({ ...context, reservedCores: Math.max(...counts) });
  try {
    const variants = [];
    for (const processes of counts) {
      const name = `processes-${processes}`;
      const contestant = await startLatchkey(environment, { name, processes, users: context.users });
      environment.pin(contestant.pids);
      await checkContestant(contestant);
      variants.push(contestant);
    }
    const results = (await measureRounds(variants, context)).map(summarize);
    const where = environment.isPinned
      ? 'each on a core of its own'
      : 'on all cores, which the load uses too';
    printTable(`Cost by number of processes, ${where}`, [
      ['processes', ...costColumns, ...redisColumns],
      ...results.map((result, index) => [format(counts[index]), ...costCells(result), ...redisCells(result)]),
    ]);
    return results;
  } finally {
    await environment.close();
  }
}
