// Runs the tests with Redis and, if needed, Chromium, nginx and promtool: `node test/run.mjs [jest arguments]`.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findChromium } from './support/find-chromium.mjs';
import { findNginx } from './support/find-nginx.mjs';
import { findPromtool } from './support/find-promtool.mjs';
import { startRedis } from './support/redis-server.mjs';

const args = process.argv.slice(2);
const scratch = mkdtempSync(join(tmpdir(), 'latchkey-test-'));
process.once('exit', () => rmSync(scratch, { recursive: true, force: true }));

const chromium = includesBrowserTests() ? findChromium() : '';
const nginx = includesNginxTests() ? findNginx() : '';
const promtool = includesAlertTests() ? findPromtool() : '';
// Most of the time, tests wait; each worker has a Redis of its own.
const workers = 2;
const servers = process.env.TEST_REDIS_URL
  ? []
  : await Promise.all(Array.from({ length: workers }, () => startRedis(scratch)));
const report = join(scratch, 'report.json');
const jest = spawn(
  process.execPath,
  [
    '--experimental-vm-modules',
    '--disable-warning=ExperimentalWarning',
    fileURLToPath(new URL('../node_modules/.bin/jest', import.meta.url)),
    `--maxWorkers=${workers}`,
    '--json',
    `--outputFile=${report}`,
    ...args,
  ],
  {
    stdio: ['inherit', 'ignore', 'inherit'], // --json also prints the report to standard output
    env: {
      ...process.env,
      NODE_ENV: 'test',
      TEST_REDIS_URL: process.env.TEST_REDIS_URL ?? servers.map(({ url }) => url).join(' '),
      TEST_CHROMIUM: chromium,
      TEST_NGINX: nginx,
      TEST_PROMTOOL: promtool,
    },
  },
);
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => jest.kill(signal));
// Jest waits without end for what a test left open.
const watch = setInterval(() => {
  if (!existsSync(report)) return;
  clearInterval(watch);
  setTimeout(() => {
    console.error(
      'A test left something open, for example a timer or a connection: jest did not exit in 15 seconds.',
    );
    jest.kill('SIGKILL');
  }, 15_000).unref();
}, 1_000);
jest.on('exit', (code) => {
  clearInterval(watch);
  for (const server of servers) server.stop();
  const counts = existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : undefined;
  const failed = counts ? counts.numFailedTests + counts.numRuntimeErrorTestSuites : 1;
  const skipped = counts ? counts.numPendingTests + counts.numTodoTests : 0;
  console.log(`${counts?.numPassedTests ?? 0} passed, ${failed} failed, ${skipped} skipped`);
  process.exitCode = code ?? 1;
});

/** False if every path among the arguments lies in a folder of tests that need no browser. */
function includesBrowserTests() {
  const paths = args.filter((each) => each.startsWith('test/'));
  return paths.length === 0 || paths.some((each) => !/^test\/(flow|hostile|architecture|unit)\b/.test(each));
}

/** False if every path among the arguments lies in a folder, or names a file, that needs no nginx. */
function includesNginxTests() {
  const paths = args.filter((each) => each.startsWith('test/'));
  return paths.length === 0 || paths.some((each) => /^test\/hostile(\/?$|\/b)/.test(each));
}

/** False if every path among the arguments lies in a folder, or names a file, that needs no promtool. */
function includesAlertTests() {
  const paths = args.filter((each) => each.startsWith('test/'));
  return paths.length === 0 || paths.some((each) => /^test\/flow(\/?$|\/a)/.test(each));
}
