import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { get } from 'node:http';
import { dirname } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

export interface LatchkeyProcess {
  /** Whether it answers its health check within 30 seconds; false too when it ends before. */
  ready(): Promise<boolean>;
  /** Calls back once, when it has ended, with the exit code to pass on. */
  onEnd(ended: (exitCode: number) => void): void;
  /** Ended once settled: asked first, after 8 seconds forced. */
  stop(): Promise<void>;
}

const readyWithinMs = 30_000;
const askEveryMs = 100;
const graceMs = 8_000;

function isAlive(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

function isHealthy(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    // No agent: a connection kept alive would hold the application up when it stops.
    const request = get({ host: '127.0.0.1', port, path: '/healthz', agent: false, timeout: 1_000 });
    request.once('response', (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.once('timeout', () => request.destroy());
    request.once('error', () => resolve(false));
    request.once('close', () => resolve(false));
  });
}

/** The built application as a child process on this port, which does not outlive this process. */
export function startLatchkey(script: string, port: number, env: NodeJS.ProcessEnv): LatchkeyProcess {
  // Beside the script there is no `.env`, so a developer's own configuration stays out of the demo.
  const cwd = dirname(script);
  const child = spawn(process.execPath, [script], { cwd, env, stdio: ['ignore', 'inherit', 'inherit'] });
  process.once('exit', () => child.kill('SIGKILL'));

  return {
    async ready() {
      const deadline = Date.now() + readyWithinMs;
      while (isAlive(child) && Date.now() < deadline) {
        if (await isHealthy(port)) return isAlive(child);
        await wait(askEveryMs);
      }
      return false;
    },
    onEnd(ended) {
      child.once('exit', (code) => ended(code ?? 1));
    },
    async stop() {
      if (!isAlive(child)) return;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      const force = setTimeout(() => child.kill('SIGKILL'), graceMs);
      await ended;
      clearTimeout(force);
    },
  };
}
