import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort as findFreePort } from './redis-server.mjs';

const { TEST_SESSION_CACHE_MS: cacheMs } = process.env;

/** Settings with which Latchkey starts, although neither the provider nor the API exists. */
export const validEnv = {
  OAUTH2_ISSUER: 'http://localhost:1',
  OAUTH2_CLIENT_ID: 'x',
  OAUTH2_CLIENT_SECRET: 'a-client-secret',
  OAUTH2_REDIRECT_URI: 'http://localhost:3000/auth/callback',
  OAUTH2_API_BASE_URL: 'http://localhost:2',
  SESSION_SECRET: 'a-secret-for-tests-that-is-long-enough',
  LOG_FORMAT: 'json',
  ...(cacheMs && { SESSION_CACHE_MS: cacheMs }),
};

export interface Run {
  readonly child: ChildProcess;
  output(): string;
  /** Settles when the output contains `text`. */
  waitForOutput(text: string): Promise<void>;
  /** Settles with the exit code. */
  waitForExit(): Promise<number | null>;
}

const children: ChildProcess[] = [];

/** Kills the processes that a failed test has left; call it after each test. */
export function killChildren(): void {
  for (const child of children.splice(0)) if (child.exitCode === null) child.kill('SIGKILL');
}

export function watch(child: ChildProcess): Run {
  children.push(child);
  let text = '';
  const exitCode = once(child, 'close').then(([code]) => code as number | null);
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk) => {
      text += chunk;
    });
  return {
    child,
    output: () => text,
    async waitForOutput(expected) {
      while (!text.includes(expected)) {
        if (child.exitCode !== null)
          throw new Error(`the process exited without printing "${expected}": ${text}`);
        await delay(20);
      }
    },
    waitForExit: () => exitCode,
  };
}

/** Starts `dist/main.js` of a build with only these variables. */
export function startProcess(buildDir: string, env: Record<string, string>): Run {
  const { PATH } = process.env;
  return watch(
    spawn(process.execPath, [join(buildDir, 'dist/main.js')], {
      cwd: buildDir,
      env: { PATH: PATH ?? '', ...env },
    }),
  );
}

export async function freePort(): Promise<string> {
  return String(await findFreePort());
}
