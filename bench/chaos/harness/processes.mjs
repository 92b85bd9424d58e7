import { spawn } from 'node:child_process';
import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Child processes by process id; all of them are killed when this run exits. */
const running = new Map();

/** A folder for data and logs, removed when this run exits. */
export const tempFolder = mkdtempSync(join(tmpdir(), 'chaos-'));

let logFolder = tempFolder;
export function writeLogsTo(folder) {
  logFolder = folder;
}

process.on('exit', () => {
  for (const child of running.values()) child.kill('SIGKILL'); // also ends paused processes
  rmSync(tempFolder, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(130));

/** Starts a child process; its output goes to `<name>.log` unless `stdio` is set. */
export function startProcess(name, command, args, { env, cwd, stdio } = {}) {
  const log = openSync(join(logFolder, `${name}.log`), 'a');
  const child = spawn(command, args, {
    env: env ?? { PATH: process.env.PATH },
    cwd: cwd ?? tempFolder,
    stdio: stdio ?? ['ignore', log, log],
  });
  child.exited = new Promise((resolve) => {
    child.once('error', resolve);
    child.once('exit', resolve);
  }).then(() => running.delete(child.pid));
  if (child.pid) running.set(child.pid, child);
  return child;
}

/**
 * Starts a Node.js program that prints one line of JSON when it is ready, and exits when its standard input ends, that is when
 * this run does. Resolves to the process, and what the line says as `ready`.
 */
export async function startProgram(name, program, args = [], { env } = {}) {
  const child = startProcess(name, process.execPath, [program, ...args], {
    ...(env && { env }),
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const line = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', resolve);
    child.exited.then(() => reject(new Error(`${name} exited during startup`)));
  });
  return { child, ready: JSON.parse(line) };
}

/** Resolves when the process has exited. */
export async function stopProcess(child, signal = 'SIGKILL') {
  if (child.exitCode === null && child.signalCode === null) child.kill(signal);
  await child.exited;
}
