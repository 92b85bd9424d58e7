import { quantile } from '../chaos/harness/stats.mjs';
import { countCommands } from './environment.mjs';
import { runLoad } from './load.mjs';
import { canReadProcesses, readCpuMicros, readResidentMb } from './processes.mjs';

/** What one run of the load costs one contestant, per request; times in microseconds of CPU time. */
export async function measureOnce(contestant, { worker, ...load }) {
  const { pids, redis } = contestant;
  const read = async () => ({
    cpu: canReadProcesses ? readCpuMicros(pids) : undefined,
    redisCpu: canReadProcesses ? readCpuMicros([redis.pid]) : undefined,
    commands: await countCommands(redis),
  });
  const before = await read();
  const { requests, seconds, p50, p99, failures } = await runLoad(worker, contestant, load);
  const after = await read();
  const perRequest = (key) =>
    after[key] === undefined ? undefined : (after[key] - before[key]) / Math.max(1, requests);
  return {
    ...{ requests, failures, p50, p99 },
    requestsPerSecond: requests / seconds,
    cpuMicros: perRequest('cpu'),
    redisCpuMicros: perRequest('redisCpu'),
    redisCommands: perRequest('commands'),
    residentMb: canReadProcesses ? readResidentMb(pids) : undefined,
  };
}

/**
 * Measures all contestants in each of several rounds, in alternating order, so that what changes on the machine meanwhile
 * affects all of them. Before the first round, each gets `warmUpSeconds` of the load, in which its code is compiled.
 * @returns {Promise<{ name: string, rounds: object[] }[]>} in the order of `contestants`
 */
export async function measureRounds(contestants, { rounds, warmUpSeconds, ...options }) {
  const results = contestants.map(({ name }) => ({ name, rounds: [] }));
  const order = [...contestants.entries()];
  for (const contestant of contestants) await measureOnce(contestant, { ...options, seconds: warmUpSeconds });
  for (let round = 0; round < rounds; round += 1) {
    for (const [index, contestant] of round % 2 === 0 ? order : order.toReversed()) {
      results[index].rounds.push(await measureOnce(contestant, options));
    }
  }
  return results;
}

export const median = (numbers) => {
  const sorted = [...numbers].sort((one, other) => one - other);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** The median of the rounds for each number, and the lowest and highest CPU time; `undefined` for what was not measured. */
export function summarize({ name, rounds }) {
  const all = (key) => rounds.map((each) => each[key]);
  const middle = (key) => (rounds[0][key] === undefined ? undefined : median(all(key)));
  const cpu = all('cpuMicros');
  const failures = {};
  for (const round of rounds)
    for (const [reason, count] of Object.entries(round.failures))
      failures[reason] = (failures[reason] ?? 0) + count;
  return {
    ...{ name, failures, rounds },
    ...Object.fromEntries(
      [
        ...['requestsPerSecond', 'cpuMicros', 'redisCpuMicros', 'redisCommands', 'residentMb'],
        ...['p50', 'p99'],
      ].map((key) => [key, middle(key)]),
    ),
    cpuMin: cpu[0] === undefined ? undefined : quantile(cpu, 0),
    cpuMax: cpu[0] === undefined ? undefined : quantile(cpu, 1),
  };
}
