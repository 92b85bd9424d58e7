import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** USER_HZ, the unit of times in `/proc`: 100 per second on every architecture that Node.js supports. */
const microsPerTick = 10_000;

/** False where CPU time and memory of other processes cannot be read. */
export const canReadProcesses = process.platform === 'linux';

/** User and system CPU time of these processes so far, microseconds. */
export function readCpuMicros(pids) {
  return pids.reduce((sum, pid) => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // the name before it may contain anything
    return sum + (Number(fields[11]) + Number(fields[12])) * microsPerTick;
  }, 0);
}

/** Resident memory of these processes, MiB. */
export function readResidentMb(pids) {
  return pids.reduce((sum, pid) => {
    const [, kb] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return sum + Number(kb) / 1024;
  }, 0);
}

const taskset = (...args) =>
  execFileSync('taskset', args.map(String), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });

function readOwnCores() {
  try {
    const [, list] = /list: (\S+)/.exec(taskset('-c', '-p', process.pid));
    return list.split(',').flatMap((range) => {
      const [first, last = first] = range.split('-').map(Number);
      return Array.from({ length: last - first + 1 }, (_, index) => first + index);
    });
  } catch {
    return []; // no taskset
  }
}

const allCores = canReadProcesses ? readOwnCores() : [];

/**
 * Reserves `count` cores for the processes that are measured: this process, and those that it starts from now on, use the others.
 * Returns a function that moves the process `pid` to reserved core `index`; `undefined` if there are not enough cores, or no
 * `taskset`. Then every process uses every core.
 */
export function reserveCores(count) {
  if (allCores.length <= count) {
    if (allCores.length > 0) taskset('-a', '-c', '-p', allCores.join(','), process.pid);
    return undefined;
  }
  taskset('-a', '-c', '-p', allCores.slice(count).join(','), process.pid);
  return (pid, index) => taskset('-a', '-c', '-p', allCores[index], pid);
}
