import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { get } from 'node:http';
import { dirname } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

export interface LatchkeyProcess {
  /** Whether its health check succeeds within 30 seconds; resolves early with false when the process exits. */
  waitUntilReady(): Promise<boolean>;
  /** Calls the listener once, when the process has exited, with the exit code to pass on. */
  onExit(listener: (exitCode: number) => void): void;
  /** Sends SIGTERM, after 8 seconds SIGKILL; resolves when the process has exited. */
  stop(): Promise<void>;
}

const startTimeoutMs = 30_000;
const pollIntervalMs = 100;
const stopTimeoutMs = 8_000;

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

function isHealthy(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    // No agent: a keep-alive connection would delay Latchkey's shutdown.
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

/** Starts the built Latchkey on this port as a child process, which is killed when this process exits. */
export function startLatchkey(script: string, port: number, env: NodeJS.ProcessEnv): LatchkeyProcess {
  // The script's folder has no `.env`, so the demo does not load the developer's own configuration.
  const cwd = dirname(script);
  const child = spawn(process.execPath, [script], { cwd, env, stdio: ['ignore', 'inherit', 'inherit'] });
  process.once('exit', () => child.kill('SIGKILL'));

  return {
    async waitUntilReady() {
      const deadline = Date.now() + startTimeoutMs;
      while (isRunning(child) && Date.now() < deadline) {
        if (await isHealthy(port)) return isRunning(child);
        await wait(pollIntervalMs);
      }
      return false;
    },
    onExit(listener) {
      child.once('exit', (code) => listener(code ?? 1));
    },
    async stop() {
      if (!isRunning(child)) return;
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      const killTimer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
      await exited;
      clearTimeout(killTimer);
    },
  };
}
