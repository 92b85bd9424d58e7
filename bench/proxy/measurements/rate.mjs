import { startContestant } from '../contestants.mjs';
import { openEnvironment } from '../environment.mjs';
import { measureOnce, measureRounds, median, summarize } from '../measure.mjs';
import { format, printTable } from '../tables.mjs';

const share = 0.5;
const names = ['floor', 'latchkey'];

/** Response times of both at half of the rate that Latchkey reaches, with requests at equal intervals. */
export async function measureAtRate(context) {
  const environment = await openEnvironment(context);
  try {
    const started = [];
    for (const name of names) started.push(await startContestant(name, environment, context));
    const fastest = (await measureRounds(started, context)).map(summarize);
    const rate = Math.floor(Math.min(...fastest.map(({ requestsPerSecond }) => requestsPerSecond)) * share);
    const rounds = names.map(() => []);
    for (let round = 0; round < context.rounds; round += 1)
      for (const [index, contestant] of started.entries())
        rounds[index].push(await measureOnce(contestant, { ...context, rate }));
    const results = names.map((name, index) => ({
      ...summarize({ name, rounds: rounds[index] }),
      rate,
      slowestP99: Math.max(...rounds[index].map(({ p99 }) => p99)),
      reached: median(rounds[index].map(({ requestsPerSecond }) => requestsPerSecond)),
    }));
    printTable('Response times at half of the rate that the slower of them reaches', [
      ['contestant', 'requests/s wanted', 'reached', 'p50 ms', 'p99 ms', 'p99 ms of the slowest round'],
      ...results.map(({ name, reached, p50, p99, slowestP99 }) => [
        ...[name, format(rate), format(reached)],
        ...[p50, p99, slowestP99].map((each) => format(each, 2)),
      ]),
    ]);
    return [...results, ...fastest.map((each) => ({ ...each, name: `${each.name}, maximum rate` }))];
  } finally {
    await environment.close();
  }
}
