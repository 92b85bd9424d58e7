// Runs the tests with everything they need: `node test/run.mjs [what jest takes]`.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const scratch = mkdtempSync(join(tmpdir(), 'latchkey-test-'));
const redis = process.env.TEST_REDIS_URL ? undefined : await startRedis();
const report = join(scratch, 'report.json');
const jest = spawn(
  process.execPath,
  [
    '--experimental-vm-modules',
    '--disable-warning=ExperimentalWarning',
    fileURLToPath(new URL('../node_modules/.bin/jest', import.meta.url)),
    '--json',
    `--outputFile=${report}`,
    ...process.argv.slice(2),
  ],
  {
    stdio: ['inherit', 'ignore', 'inherit'], // with --json the report is repeated on standard output
    env: { ...process.env, NODE_ENV: 'test', TEST_REDIS_URL: process.env.TEST_REDIS_URL ?? redis.url },
  },
);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => jest.kill(signal));
jest.on('exit', (code) => {
  redis?.stop();
  const counts = existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : undefined;
  rmSync(scratch, { recursive: true, force: true });
  const failed = counts ? counts.numFailedTests + counts.numRuntimeErrorTestSuites : 1;
  const skipped = counts ? counts.numPendingTests + counts.numTodoTests : 0;
  console.log(`${counts?.numPassedTests ?? 0} passed, ${failed} failed, ${skipped} skipped`);
  process.exitCode = code ?? 1;
});

/** A Redis of our own on a free port, gone with this process; nothing is kept of it. */
async function startRedis() {
  const server = findServer();
  const port = await freePort();
  const child = spawn(
    server,
    ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', scratch].map(String),
    { stdio: 'ignore' },
  );
  const stop = () => child.kill('SIGKILL');
  process.once('exit', stop);
  for (let tries = 0; !(await accepts(port)); tries += 1) {
    if (tries > 100 || child.exitCode !== null) giveUp(`${server} did not start on port ${port}.`);
    await delay(50);
  }
  return { url: `redis://127.0.0.1:${port}`, stop };
}

function findServer() {
  const known = ['redis-server', 'valkey-server'].find((name) => spawnSync(name, ['--version']).status === 0);
  if (known) return known;
  const isDebian = existsSync('/etc/debian_version');
  if (isDebian && process.getuid?.() === 0) {
    console.error(
      'The tests need a Redis server and there is none: installing the Debian package redis-server.',
    );
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const apt = (...args) =>
      spawnSync('apt-get', ['-qq', ...args], { stdio: ['ignore', 'ignore', 'inherit'], env });
    apt('update');
    if (apt('install', '-y', '--no-install-recommends', 'redis-server').status === 0) return 'redis-server';
    giveUp('apt-get could not install redis-server.');
  }
  const command = isDebian
    ? 'sudo apt-get install redis-server'
    : process.platform === 'darwin'
      ? 'brew install redis'
      : 'sudo dnf install valkey';
  return giveUp(`The tests need redis-server or valkey-server on the PATH. Install it with: ${command}`);
}

function giveUp(sentence) {
  console.error(`${sentence}\n(TEST_REDIS_URL=redis://host:port uses a server that is already there.)`);
  rmSync(scratch, { recursive: true, force: true });
  process.exit(1);
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
