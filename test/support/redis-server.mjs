import { spawn } from 'node:child_process';
import { connect, createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { exitWithMessage, findProgram } from './find-program.mjs';

const alternative = 'Or set TEST_REDIS_URL=redis://host:port to use a running server.';

/** The name of the Redis server program of this machine. */
export function findRedisServer() {
  return findProgram({
    what: 'a Redis server',
    names: ['redis-server', 'valkey-server'],
    debianPackage: 'redis-server',
    otherCommand: process.platform === 'darwin' ? 'brew install redis' : 'sudo dnf install valkey',
    alternative,
  });
}

/** Starts a Redis without persistence on a free port; it is killed when this process exits. */
export async function startRedis(scratch) {
  const server = findRedisServer();
  const port = await freePort();
  const child = spawn(
    server,
    ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', scratch].map(String),
    { stdio: 'ignore' },
  );
  const stop = () => child.kill('SIGKILL');
  process.once('exit', stop);
  for (let attempts = 0; !(await canConnect(port)); attempts += 1) {
    if (attempts > 100 || child.exitCode !== null)
      exitWithMessage(`${server} did not start on port ${port}.`, alternative);
    await delay(50);
  }
  return { url: `redis://127.0.0.1:${port}`, stop };
}

/** The system gives ports from 32768 upwards to outgoing connections, so these are below; each worker has its own. */
const [minPort, portCount] = [10_000 + (Number(process.env.JEST_WORKER_ID ?? 0) % 2) * 10_000, 10_000];
const returnedPorts = new Set();

/** A port that nobody uses, and that this process has not returned before: its server may not listen yet. */
export async function freePort() {
  for (;;) {
    const port = minPort + Math.floor(Math.random() * portCount);
    if (returnedPorts.has(port)) continue;
    const server = createServer().listen(port, '127.0.0.1');
    const isFree = await new Promise((resolve) => {
      server.once('listening', () => resolve(true)).once('error', () => resolve(false));
    });
    await new Promise((resolve) => server.close(resolve));
    if (!isFree) continue;
    returnedPorts.add(port);
    return port;
  }
}

function canConnect(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
