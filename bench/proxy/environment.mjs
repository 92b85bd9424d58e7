import { fileURLToPath } from 'node:url';
import { startProgram, stopProcess } from '../chaos/harness/processes.mjs';
import { startRedis } from '../chaos/harness/redis.mjs';
import { reserveCores } from './processes.mjs';

const apiProgram = fileURLToPath(new URL('api.mjs', import.meta.url));

/**
 * What the contestants of one measurement share: an API, a Redis without persistence, and cores that only they use. Everything
 * that `closeAtEnd` got is closed by `close`, last first.
 */
export async function openEnvironment({ programs, reservedCores = 1 }) {
  const pin = reserveCores(reservedCores);
  const closers = [];
  const environment = {
    programs,
    isPinned: pin !== undefined,
    /** Moves the processes of a contestant to the reserved cores. */
    pin: (pids) => pin && pids.forEach(pin),
    closeAtEnd: (close) => closers.push(close),
    async close() {
      for (const close of closers.reverse()) await close();
    },
  };
  const { child, ready } = await startProgram('proxy-api', apiProgram);
  environment.apiUrl = `http://127.0.0.1:${ready.port}`;
  environment.closeAtEnd(() => stopProcess(child));
  environment.redis = await startRedis({ args: ['--appendonly', 'no'] });
  environment.closeAtEnd(environment.redis.close);
  return environment;
}

/** The commands that Redis has processed, without those of health checks and of this bench. */
export async function countCommands(redis) {
  const stats = await redis.command('INFO', 'commandstats');
  return [...stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)]
    .filter(([, name]) => !['ping', 'info', 'config|resetstat'].includes(name))
    .reduce((sum, [, , calls]) => sum + Number(calls), 0);
}

/** The memory that Redis uses for data, bytes. */
export async function readRedisBytes(redis) {
  const info = await redis.command('INFO', 'memory');
  return Number(/used_memory:(\d+)/.exec(info)[1]);
}
