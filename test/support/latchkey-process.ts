import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { waitFor } from './redis-topologies.ts';

/** The built product as a process of its own. */
export interface LatchkeyProcess {
  readonly child: ChildProcess;
  readonly stdout: string[];
  readonly stderr: string[];
  /** The log lines so far with this message. */
  logged(message: string): Record<string, unknown>[];
  /** Settles with the origin of the process when it listens. */
  listening(): Promise<string>;
  close(): void;
}

const validEnv = {
  OAUTH2_ISSUER: 'http://localhost:1',
  OAUTH2_CLIENT_ID: 'x',
  OAUTH2_CLIENT_SECRET: 'a-client-secret',
  OAUTH2_REDIRECT_URI: 'http://localhost:3000/auth/callback',
  OAUTH2_API_BASE_URL: 'http://localhost:2',
  SESSION_SECRET: 'a-secret-for-tests-that-is-long-enough',
  PORT: '0',
  LOG_FORMAT: 'json',
};

/** Starts the build in `folder` on a free port. */
export function startLatchkeyProcess(folder: string, env: Readonly<Record<string, string>>): LatchkeyProcess {
  const child = spawn(process.execPath, [join(folder, 'dist/main.js')], {
    cwd: folder,
    env: { PATH: process.env.PATH ?? '', ...validEnv, ...env },
  });
  process.once('exit', () => child.kill('SIGKILL'));
  const [stdout, stderr] = [collectLines(child.stdout), collectLines(child.stderr)];
  const logged = (message: string) =>
    stdout
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
      .filter(({ msg }) => msg === message);
  return {
    child,
    stdout,
    stderr,
    logged,
    async listening() {
      await waitFor(() => logged('Latchkey is listening').length > 0);
      const [{ address }] = logged('Latchkey is listening') as [{ address: { port: number } }];
      return `http://localhost:${address.port}`;
    },
    close: () => child.kill('SIGKILL'),
  };
}

/** The complete lines that `stream` has delivered so far. */
function collectLines(stream: NodeJS.ReadableStream): string[] {
  const lines: string[] = [];
  let rest = '';
  stream.on('data', (chunk) => {
    const parts = `${rest}${chunk}`.split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts);
  });
  return lines;
}
