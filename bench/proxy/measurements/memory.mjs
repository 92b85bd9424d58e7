import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import { tempFolder } from '../../chaos/harness/processes.mjs';
import { delay } from '../../chaos/harness/wait-for.mjs';
import { checkContestant, startLatchkey } from '../contestants.mjs';
import { openEnvironment } from '../environment.mjs';
import { runLoad } from '../load.mjs';
import { canReadProcesses, readResidentMb } from '../processes.mjs';
import { format, printTable } from '../tables.mjs';

const maxIntervalSeconds = 15;
const minSamples = 8;
const maxRows = 12;

/** Resident memory during a long run at saturation, and how fast it grows in the second half. */
export async function measureMemory(context, minutes) {
  if (!canReadProcesses) throw new Error('--minutes needs Linux: it reads /proc');
  const environment = await openEnvironment(context);
  try {
    const contestant = await startLatchkey(environment, { name: 'memory', users: context.users });
    environment.pin(contestant.pids);
    await checkContestant(contestant);
    const seconds = minutes * 60;
    const samples = [];
    const load = runLoad(context.worker, contestant, { connections: context.connections, seconds });
    const sampling = sample(contestant, seconds, samples);
    const { requests, failures } = await load;
    await sampling;
    const slope = growthPerMinute(samples.filter(({ minute }) => minute >= minutes / 2));
    const step = Math.max(1, Math.ceil(samples.length / maxRows));
    printTable(`Resident memory at saturation, ${format(requests)} requests`, [
      ['minute', 'RSS MB'],
      ...samples
        .filter((_, index) => index % step === 0 || index === samples.length - 1)
        .map(({ minute, residentMb }) => [format(minute, 2), format(residentMb, 1)]),
    ]);
    console.log(`\nGrowth in the second half: ${format(slope, 2)} MB per minute`);
    return { requests, failures, samples, growthMbPerMinute: slope };
  } finally {
    await environment.close();
  }
}

async function sample({ pids, deployment }, seconds, samples) {
  const log = join(tempFolder, `${deployment.label}-${deployment.instances[0].name}.log`);
  const intervalSeconds = Math.min(maxIntervalSeconds, seconds / minSamples);
  const startedAt = performance.now();
  for (let at = 0; at <= seconds; at += intervalSeconds) {
    await delay(Math.max(0, startedAt + at * 1000 - performance.now()));
    samples.push({ minute: at / 60, residentMb: readResidentMb(pids) });
    truncateSync(log); // a gigabyte in ten minutes
  }
}

/** The slope of the line through these points, by least squares, MB per minute. */
function growthPerMinute(samples) {
  const mean = (numbers) => numbers.reduce((sum, each) => sum + each, 0) / numbers.length;
  const [x, y] = [
    mean(samples.map(({ minute }) => minute)),
    mean(samples.map(({ residentMb }) => residentMb)),
  ];
  const sum = (values) => samples.reduce((total, each) => total + values(each), 0);
  const covariance = sum(({ minute, residentMb }) => (minute - x) * (residentMb - y));
  return covariance / sum(({ minute }) => (minute - x) ** 2);
}
