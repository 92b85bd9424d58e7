import { spawn } from 'node:child_process';
import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Everything this run started and has not ended, by process id; none of it outlives the run. */
const running = new Map();

/** A folder for data and logs of this run, removed at its end. */
export const scratch = mkdtempSync(join(tmpdir(), 'chaos-'));

let logFolder = scratch;
export function keepLogsIn(folder) {
  logFolder = folder;
}

process.on('exit', () => {
  for (const child of running.values()) child.kill('SIGKILL'); // works on the stopped ones too
  rmSync(scratch, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(130));

/** A child whose output goes to `<name>.log`, unless it is to be read. */
export function startChild(name, command, args, { env, cwd, stdio } = {}) {
  const log = openSync(join(logFolder, `${name}.log`), 'a');
  const child = spawn(command, args, {
    env: env ?? { PATH: process.env.PATH },
    cwd: cwd ?? scratch,
    stdio: stdio ?? ['ignore', log, log],
  });
  child.ended = new Promise((resolve) => {
    child.once('error', resolve);
    child.once('exit', resolve);
  }).then(() => running.delete(child.pid));
  if (child.pid) running.set(child.pid, child);
  return child;
}

/** Settles when the child is gone. */
export async function endChild(child, signal = 'SIGKILL') {
  if (child.exitCode === null && child.signalCode === null) child.kill(signal);
  await child.ended;
}
