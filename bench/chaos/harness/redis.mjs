import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { endChild, scratch, startChild } from './children.mjs';
import { freePorts } from './ports.mjs';
import { until } from './waiting.mjs';

/** A real redis-server that can be killed, paused and started again with its data. */
export async function startRedis({ port, args = [] } = {}) {
  port ??= (await freePorts(1))[0];
  const folder = join(scratch, `redis-${port}`);
  mkdirSync(folder);
  const all = ['--port', port, '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'yes'];
  let child;
  let admin;

  const redis = {
    port,
    url: `redis://127.0.0.1:${port}`,
    get pid() {
      return child.pid;
    },
    async start() {
      child = startChild(`redis-${port}`, 'redis-server', [...all, ...args].map(String));
      admin = new Redis(port, '127.0.0.1', { retryStrategy: () => 50, maxRetriesPerRequest: null });
      admin.on('error', () => {}); // it is not there yet, or was ended on purpose
      if (!(await until(() => admin.ping().catch(() => false), 5000)))
        throw new Error('redis-server did not start');
    },
    command: (...words) => admin.call(...words.map(String)),
    keys: (pattern) => admin.keys(pattern),
    pause: () => child.kill('SIGSTOP'),
    resume: () => child.kill('SIGCONT'),
    async kill() {
      admin.disconnect();
      await endChild(child);
    },
    close: () => redis.kill(),
  };
  await redis.start();
  return redis;
}
