// node bench/limits/run.mjs [--seconds 120] [--users 100] [--strangers 500] [--build FOLDER] [--out FILE]
// One process of the app in 256 MiB of memory and a Redis of 64 MiB, attacked by one account and by anonymous clients,
// while other users sign in and call the API. Exits with 1 when a limit is exceeded. Linux only: reads `/proc`. As root, it
// runs the app in a memory cgroup of that size, as a container does; Linux then kills it at the limit.
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { latchkey } from '../chaos/apps/latchkey.mjs';
import { startDeployment } from '../chaos/harness/deployment.mjs';
import { startProgram, stopProcess, tempFolder, writeLogsTo } from '../chaos/harness/processes.mjs';
import { startRedis } from '../chaos/harness/redis.mjs';
import { max, quantile } from '../chaos/harness/stats.mjs';
import { delay } from '../chaos/harness/wait-for.mjs';

const maxProcessMb = 256;
const maxRedisMb = 64;
const maxFailures = 0.01;
const slowMs = 5_000;

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '120' },
    users: { type: 'string', default: '100' },
    strangers: { type: 'string', default: '500' },
    build: { type: 'string' },
    logs: { type: 'string' },
    out: { type: 'string' },
    calm: { type: 'boolean', default: false },
  },
});
const seconds = Number(options.seconds);
if (options.logs) {
  mkdirSync(options.logs, { recursive: true });
  writeLogsTo(resolve(options.logs));
}
const file = (name) => fileURLToPath(new URL(name, import.meta.url));
const failures = [];
function check(promise, isKept, measured) {
  console.log(`  ${isKept ? 'OK    ' : 'BROKEN'} ${promise}: ${measured}`);
  if (!isKept) failures.push(promise);
}

latchkey.prepare({ build: options.build && resolve(options.build) });
const api = await startApi();
const redis = await startRedis({
  args: ['--maxmemory', `${maxRedisMb}mb`, '--maxmemory-policy', 'noeviction'],
});
const cgroup = createCgroup();
const deployment = await startDeployment(latchkey, {
  label: 'limits',
  cgroup,
  processes: 1,
  redisUrl: redis.url,
  settings: { accessTokenSeconds: 20 },
  env: {
    API_ROUTES_FILE: writeRoutes(),
    AUTH_RATE_LIMIT: '600',
    TRUST_PROXY: '127.0.0.1',
    // What the Dockerfile gives the heap in a container of this size.
    NODE_OPTIONS: `--max-old-space-size=${maxProcessMb / 2}`,
  },
});
const [instance] = deployment.instances;

try {
  const target = await prepareAttack();
  const { pid } = instance;
  const samples = [];
  const calls = [];
  const signIns = [];
  const startedAt = performance.now();
  const isOver = () => performance.now() - startedAt > seconds * 1000;
  const sampling = setInterval(async () => {
    const at = Math.round((performance.now() - startedAt) / 1000);
    const sample = { at, processMb: statusMb(pid, 'RssAnon'), redisMb: await redisMb() };
    samples.push(sample);
  }, 1_000);
  const attack = options.calm
    ? undefined
    : promisify(execFile)(process.execPath, [file('hostile.mjs'), JSON.stringify(target)], {
        maxBuffer: 2 ** 24,
      });
  await Promise.all(
    Array.from({ length: Number(options.users) }, (_, index) => useApp(index, isOver, calls, signIns)),
  );
  clearInterval(sampling);
  const outcomes = attack ? JSON.parse((await attack).stdout) : {};

  report(samples, calls, signIns, outcomes, pid);
  await checkAfterwards();
  if (options.out) writeFileSync(options.out, JSON.stringify({ samples, outcomes }, null, 2));
} finally {
  await deployment.close();
  await redis.close();
  await api.close();
  if (cgroup) rmdirSync(cgroup);
}
process.exit(failures.length === 0 ? 0 : 1);

/** An ordinary user with an address of their own: signs in, calls the API about once a second, signs in again. */
async function useApp(index, isOver, calls, signIns) {
  const user = deployment.browser(`user-${index}`);
  const address = { 'x-forwarded-for': `192.0.2.${index % 250}` };
  const send = user.send.bind(user);
  user.send = (to, path, { headers, ...rest } = {}) =>
    send(to, path, { ...rest, headers: { ...address, ...headers } });
  await delay(Math.random() * 10_000);
  while (!isOver()) {
    const before = performance.now();
    const isSignedIn = await user.signIn(instance).then(
      () => true,
      (error) => error.message.slice(0, 60).replace(/^\S+ /, ''),
    );
    signIns.push({ ms: performance.now() - before, ok: isSignedIn === true, status: isSignedIn });
    if (isSignedIn !== true) {
      await delay(1_000);
      continue;
    }
    const untilAt = performance.now() + 20_000 + Math.random() * 20_000;
    while (!isOver() && performance.now() < untilAt) {
      const { status, ms, error } = await user.callApi(instance, { timeoutMs: 10_000 });
      calls.push({ ms, ok: status === 200 && ms < slowMs, status: error ?? status });
      await delay(500 + Math.random() * 1_000);
    }
  }
}

/** The sessions of the hostile account: one that lives, and twenty that are signed out. */
async function prepareAttack() {
  const cookieOf = (browser) => [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  const [mallory, ...others] = await deployment.signIn(21, 'mallory');
  const endedCookies = others.map(cookieOf);
  for (const each of others) await each.signOut(instance);
  return {
    port: instance.port,
    host: new URL(deployment.publicOrigin).host,
    origin: deployment.publicOrigin,
    seconds: seconds - 2,
    strangers: Number(options.strangers),
    cookie: cookieOf(mallory),
    endedCookies,
  };
}

function report(samples, calls, signIns, outcomes, pid) {
  console.log(
    `\n${options.users} users, one hostile account, ${options.strangers} hostile clients, ${seconds} s`,
  );
  for (const [name, results] of [
    ['calls to the API', calls],
    ['sign-ins', signIns],
  ]) {
    const failed = results.filter(({ ok }) => !ok);
    const ms = results.map((each) => each.ms);
    const causes = {};
    for (const { status } of failed) causes[status] = (causes[status] ?? 0) + 1;
    check(
      `fewer than 1 % of the users' ${name} fail or take longer than ${slowMs / 1000} s`,
      results.length > 0 && failed.length / results.length < maxFailures,
      `${failed.length} of ${results.length} (p50 ${quantile(ms, 0.5).toFixed(0)} ms, p99 ${quantile(ms, 0.99).toFixed(0)} ms, slowest ${max(ms).toFixed(0)} ms) ${JSON.stringify(causes)}`,
    );
  }
  const isSameProcess = instance.pid === pid && statusMb(pid, 'VmHWM') > 0;
  const where = cgroup ? ` in a cgroup of ${maxProcessMb} MiB` : '';
  check(`the process survives${where}`, isSameProcess, isSameProcess ? 'yes' : 'no');
  if (isSameProcess) {
    const peak = max(samples.map((each) => each.processMb));
    check(
      `its memory, not counting the program file of Node, stays below ${maxProcessMb} MiB`,
      peak < maxProcessMb,
      `${peak.toFixed(0)} MiB at most`,
    );
  }
  const redisPeak = max(samples.map((each) => each.redisMb));
  check(`Redis stays below ${maxRedisMb} MiB`, redisPeak < maxRedisMb, `${redisPeak.toFixed(1)} MiB at most`);
  console.log('\n  second  process MiB  Redis MiB');
  for (const { at, processMb, redisMb: inRedis } of samples.filter((_, index) => index % 10 === 0))
    console.log(
      `  ${String(at).padStart(6)}  ${processMb.toFixed(0).padStart(11)}  ${inRedis.toFixed(1).padStart(9)}`,
    );
  console.log('\n  what the attackers got:');
  for (const [attack, results] of Object.entries(outcomes))
    console.log(
      `  ${attack}: ${Object.entries(results)
        .map(([outcome, times]) => `${times} x ${outcome}`)
        .join(', ')}`,
    );
}

/** The attackers are gone: everything works at once, and nothing of theirs stays open. */
async function checkAfterwards() {
  await delay(3_000);
  const user = deployment.browser('afterwards');
  const startedAt = performance.now();
  const worked = await user.signIn(instance).then(
    async () => (await user.callApi(instance)).status === 200,
    () => false,
  );
  check(
    'after the attack a sign-in and a call work',
    worked,
    `${(performance.now() - startedAt).toFixed(0)} ms`,
  );
}

async function redisMb() {
  const info = await redis.command('INFO', 'memory');
  return Number(/used_memory:(\d+)/.exec(info)[1]) / 1024 ** 2;
}

function statusMb(pid, name) {
  try {
    return (
      Number(
        new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0,
      ) / 1024
    );
  } catch {
    return 0; // the process is gone
  }
}

function writeRoutes() {
  const user = (path, methods, more = {}) => ({ path, target: `${api.url}${path}`, methods, ...more });
  const open = (path, target, methods, more = {}) => ({
    path,
    target: api.url + target,
    methods,
    token: 'none',
    ...more,
  });
  const routesFile = join(tempFolder, 'limits-routes.json');
  const routes = [
    user('/data', { GET: {} }),
    user('/form', { POST: {} }),
    user('/events', { GET: {} }, { stream: true }),
    user('/ws', { GET: {} }, { webSocket: true }),
    user('/large', { GET: {} }),
    user('/upload', { PUT: {} }, { bodyLimitBytes: 200 * 1024 ** 2 }),
    user('/unavailable', { GET: {} }),
    user('/slow', { GET: {} }, { timeoutSeconds: 5 }),
    open('/public', '/public', { POST: {} }),
    open('/public-large', '/large', { GET: {} }),
  ];
  writeFileSync(routesFile, JSON.stringify({ routes }));
  return routesFile;
}

/** The folder of a new cgroup with the memory of the container and no swap; `undefined` if this user cannot create one. */
function createCgroup() {
  const version1 = '/sys/fs/cgroup/memory';
  const folder = join(existsSync(version1) ? version1 : '/sys/fs/cgroup', `latchkey-limits-${process.pid}`);
  const bytes = String(maxProcessMb * 1024 ** 2);
  try {
    mkdirSync(folder);
    if (existsSync(version1)) {
      writeFileSync(join(folder, 'memory.limit_in_bytes'), bytes);
      writeFileSync(join(folder, 'memory.swappiness'), '0');
    } else {
      writeFileSync(join(folder, 'memory.max'), bytes);
      writeFileSync(join(folder, 'memory.swap.max'), '0');
    }
    return folder;
  } catch (error) {
    console.log(`without a cgroup: ${error.message}`);
    return undefined;
  }
}

async function startApi() {
  const { child, ready } = await startProgram('limits-api', file('api.mjs'));
  return { url: `http://127.0.0.1:${ready.port}`, close: () => stopProcess(child) };
}
