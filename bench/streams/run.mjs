// node bench/streams/run.mjs [--streams 1000] [--bytes 1073741824] [--build FOLDER] [--logs FOLDER]
// Two real processes of the app share one Redis: event streams on the first must end when their users sign out on the
// second, and a large download and upload must not grow the memory of the process. Exits with 1 when a limit is
// exceeded.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { latchkey } from '../chaos/apps/latchkey.mjs';
import { startDeployment } from '../chaos/harness/deployment.mjs';
import { sendRequest } from '../chaos/harness/http.mjs';
import { startProgram, stopProcess, tempFolder, writeLogsTo } from '../chaos/harness/processes.mjs';
import { max, quantile } from '../chaos/harness/stats.mjs';
import { delay, mapConcurrently, waitFor } from '../chaos/harness/wait-for.mjs';
import { download, openEvents, upload } from './clients.mjs';

const maxEndMs = 1_000;
const maxGrowthMb = 50;
const userCount = 50; // with the default MAX_STREAMS_PER_SESSION, each can have twenty streams

const { values: options } = parseArgs({
  options: {
    streams: { type: 'string', default: '1000' },
    bytes: { type: 'string', default: String(1024 ** 3) },
    build: { type: 'string' },
    logs: { type: 'string' },
  },
});
const streamCount = Number(options.streams);
const bytes = Number(options.bytes);
if (options.logs) {
  mkdirSync(options.logs, { recursive: true });
  writeLogsTo(resolve(options.logs));
}

const failures = [];
function check(promise, isKept, measured) {
  console.log(`  ${isKept ? 'OK    ' : 'BROKEN'} ${promise}: ${measured}`);
  if (!isKept) failures.push(promise);
}

latchkey.prepare({ build: options.build && resolve(options.build) });
const api = await startApi();
const routesFile = join(tempFolder, 'routes.json');
writeFileSync(
  routesFile,
  JSON.stringify({
    routes: [
      {
        path: '/events',
        target: `${api.url}/events`,
        methods: { GET: {} },
        stream: true,
        idleSeconds: 300,
      },
      {
        path: '/files/*name',
        target: `${api.url}/files/*name`,
        methods: { GET: {}, PUT: {} },
        bodyLimitBytes: 2 * 1024 ** 3,
      },
    ],
  }),
);
const deployment = await startDeployment(latchkey, {
  label: 'streams',
  processes: 2,
  env: { API_ROUTES_FILE: routesFile },
});
try {
  await checkEventStreams();
  await checkLargeFiles();
  await checkShutdown();
} finally {
  await deployment.close();
  await api.close();
}
process.exit(failures.length === 0 ? 0 : 1);

async function checkEventStreams() {
  const [first, second] = deployment.instances;
  const users = await deployment.signIn(userCount);
  const beforeMb = residentMb(first.pid);
  const opened = await mapConcurrently(
    Array.from({ length: streamCount }, (_, index) => users[index % userCount]),
    50,
    async (user) => ({ user, stream: await openEvents(user, first) }),
  );
  const bystander = deployment.browser('bystander');
  await bystander.signIn(second);
  const otherStream = await openEvents(bystander, first);
  console.log(
    `\n${streamCount} event streams of ${userCount} users on one process; the users sign out on another`,
  );

  const kbPerStream = ((residentMb(first.pid) - beforeMb) * 1024) / streamCount;
  console.log(`  memory per stream: ${kbPerStream.toFixed(0)} kB`);

  // Measured from the moment the user's browser has the logout response.
  const signedOutAt = new Map();
  await Promise.all(
    users.map(async (user) => {
      const { status } = await user.signOut(second);
      if (status !== 200 && status !== 303) throw new Error(`${user.name} cannot sign out: ${status}`);
      signedOutAt.set(user, performance.now());
    }),
  );
  const endedMs = (
    await Promise.all(
      opened.map(({ user, stream }) =>
        Promise.race([stream.ended, delay(10_000, Number.POSITIVE_INFINITY, { ref: false })]).then(
          (at) => at - signedOutAt.get(user),
        ),
      ),
    )
  ).map((ms) => Math.max(0, ms));
  const isPrompt = endedMs.every((ms) => ms < maxEndMs);
  const durations = `p50 ${quantile(endedMs, 0.5).toFixed(0)} ms, slowest ${max(endedMs).toFixed(0)} ms`;
  check('every stream ends within 1 s of the logout', isPrompt, durations);
  const withFinalEvent = opened.filter(({ stream }) => /^event: /m.test(stream.text)).length;
  check(
    'every stream ends with a final event',
    withFinalEvent === streamCount,
    `${withFinalEvent} of ${streamCount}`,
  );
  const isOneOpen = await waitFor(async () => (await api.countOpen()) === 1, 2_000);
  check(
    'the connections to the API are closed',
    Boolean(isOneOpen),
    `${await api.countOpen()} open, one of them the bystander's`,
  );
  const isOpen = await Promise.race([otherStream.ended.then(() => false), delay(200, true)]);
  check("another user's stream stays open", isOpen, isOpen ? 'open' : 'ended');
}

async function checkLargeFiles() {
  const [, instance] = deployment.instances;
  const user = deployment.browser('mover');
  await user.signIn(instance);
  console.log(`\n${(bytes / 1024 ** 2).toFixed(0)} MB down and up through one process`);
  for (const [direction, transfer] of [
    ['down', download],
    ['up', upload],
  ]) {
    await transfer(user, instance, 64 * 1024 ** 2); // warm-up: memory for loading and compiling code does not count
    const before = residentMb(instance.pid);
    let highest = before;
    const sampling = setInterval(() => {
      highest = Math.max(highest, residentMb(instance.pid));
    }, 20);
    const startedAt = performance.now();
    const received = await transfer(user, instance, bytes);
    const seconds = (performance.now() - startedAt) / 1000;
    clearInterval(sampling);
    check(
      `all bytes arrive (${direction})`,
      received === bytes,
      `${received} bytes in ${seconds.toFixed(1)} s`,
    );
    const growth = highest - before;
    check(
      `resident memory grows by less than ${maxGrowthMb} MB (${direction})`,
      growth < maxGrowthMb,
      `${growth.toFixed(1)} MB, from ${before.toFixed(0)} to ${highest.toFixed(0)} MB`,
    );
  }
}

async function checkShutdown() {
  const [instance] = deployment.instances;
  const user = deployment.browser('last');
  await user.signIn(instance);
  const stream = await openEvents(user, instance);
  console.log('\nSIGTERM while an event stream is open');
  const startedAt = performance.now();
  process.kill(instance.pid, 'SIGTERM');
  await stream.ended;
  const hasExited = await waitFor(() => !existsSync(`/proc/${instance.pid}`), 5_000, 20);
  const ms = performance.now() - startedAt;
  check('the process exits within 2 s', hasExited && ms < 2_000, `${ms.toFixed(0)} ms`);
}

/** Linux only: reads `/proc`. */
function residentMb(pid) {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;
}

async function startApi() {
  const program = fileURLToPath(new URL('upstream.mjs', import.meta.url));
  const { child, ready } = await startProgram('streams-api', program);
  const url = `http://127.0.0.1:${ready.port}`;
  return {
    url,
    countOpen: async () => JSON.parse((await sendRequest(`${url}/count`)).body).open,
    close: () => stopProcess(child),
  };
}
