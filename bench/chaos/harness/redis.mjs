import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePorts } from './ports.mjs';
import { startProcess, stopProcess, tempFolder } from './processes.mjs';
import { waitFor } from './wait-for.mjs';

/** Starts a real redis-server that can be killed, paused, and restarted with its data. */
export async function startRedis({ port, args = [] } = {}) {
  port ??= (await freePorts(1))[0];
  const folder = join(tempFolder, `redis-${port}`);
  mkdirSync(folder);
  const baseArgs = [
    ...['--port', port, '--bind', '127.0.0.1', '--dir', folder],
    ...['--save', '', '--appendonly', 'yes'],
  ];
  let child;
  let admin;

  const redis = {
    port,
    url: `redis://127.0.0.1:${port}`,
    get pid() {
      return child.pid;
    },
    async start() {
      child = startProcess(`redis-${port}`, 'redis-server', [...baseArgs, ...args].map(String));
      admin = new Redis(port, '127.0.0.1', { retryStrategy: () => 50, maxRetriesPerRequest: null });
      admin.on('error', () => {}); // expected while Redis starts and after it is killed
      if (!(await waitFor(() => admin.ping().catch(() => false), 5000)))
        throw new Error('redis-server did not start');
    },
    command: (...words) => admin.call(...words.map(String)),
    keys: (pattern) => admin.keys(pattern),
    pause: () => child.kill('SIGSTOP'),
    resume: () => child.kill('SIGCONT'),
    async kill() {
      admin.disconnect();
      await stopProcess(child);
    },
    close: () => redis.kill(),
  };
  await redis.start();
  return redis;
}
