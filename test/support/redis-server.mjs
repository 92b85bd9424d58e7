import { spawn } from 'node:child_process';
import { connect, createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { findProgram, giveUp } from './programs.mjs';

const instead = 'TEST_REDIS_URL=redis://host:port uses a server that is already there.';

/** A Redis of our own on a free port, gone with this process; nothing is kept of it. */
export async function startRedis(scratch) {
  const server = findProgram({
    what: 'a Redis server',
    names: ['redis-server', 'valkey-server'],
    debianPackage: 'redis-server',
    elsewhere: process.platform === 'darwin' ? 'brew install redis' : 'sudo dnf install valkey',
    instead,
  });
  const port = await freePort();
  const child = spawn(
    server,
    ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', scratch].map(String),
    { stdio: 'ignore' },
  );
  const stop = () => child.kill('SIGKILL');
  process.once('exit', stop);
  for (let tries = 0; !(await accepts(port)); tries += 1) {
    if (tries > 100 || child.exitCode !== null) giveUp(`${server} did not start on port ${port}.`, instead);
    await delay(50);
  }
  return { url: `redis://127.0.0.1:${port}`, stop };
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
