// node bench/costs/run.mjs [--rounds 3] [--sockets 10000] [--megabytes 512] [--sign-ins 400] [--build FOLDER]
// What costs CPU time or memory besides proxied requests: the start, sign-ins, pages, large bodies (compared with nginx),
// event streams, and idle WebSockets. Needs Linux, redis-server and nginx. Prints tables; nothing is checked except that
// every request succeeds.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { latchkey } from '../chaos/apps/latchkey.mjs';
import { startDeployment } from '../chaos/harness/deployment.mjs';
import { sendRequest } from '../chaos/harness/http.mjs';
import { startNginx } from '../chaos/harness/nginx.mjs';
import { startProgram, stopProcess, tempFolder } from '../chaos/harness/processes.mjs';
import { delay, mapConcurrently } from '../chaos/harness/wait-for.mjs';
import { median } from '../proxy/measure.mjs';
import { readCpuMicros, readResidentMb } from '../proxy/processes.mjs';
import { format, printTable } from '../proxy/tables.mjs';
import { headersOf, openSocket, transfer } from './clients.mjs';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    sockets: { type: 'string', default: '10000' },
    megabytes: { type: 'string', default: '512' },
    'sign-ins': { type: 'string', default: '400' },
    build: { type: 'string' },
  },
});
const [rounds, sockets, megabytes, signIns] = ['rounds', 'sockets', 'megabytes', 'sign-ins'].map(readNumber);
/** Files that a process of Latchkey has open besides its WebSockets, each of which needs two. */
const otherFiles = 200;
const neededFiles = 2 * sockets + otherFiles;
const maxFiles = execFileSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).trim();
if (Number(maxFiles) < neededFiles) {
  console.error(
    `${sockets} WebSockets need ${neededFiles} open files: run "ulimit -n ${neededFiles}" before`,
  );
  process.exit(2);
}
const megabyte = 1024 ** 2;
const pageRequests = 1_000;
const concurrency = 8;
const idleSeconds = 20;
const unlimited = [
  ...['MAX_CONNECTIONS', 'MAX_CONNECTIONS_PER_ADDRESS', 'MAX_STREAMS', 'MAX_STREAMS_PER_ADDRESS'],
  ...['MAX_STREAMS_PER_USER', 'MAX_STREAMS_PER_SESSION', 'MAX_UPSTREAM_CONNECTIONS'],
  ...['MAX_UPSTREAM_CONNECTIONS_PER_USER', 'MAX_UPSTREAM_CONNECTIONS_PER_ADDRESS'],
];

latchkey.prepare({ build: options.build && resolve(options.build) });
const { child: apiProcess, ready: api } = await startProgram(
  'costs-api',
  fileURLToPath(new URL('api.mjs', import.meta.url)),
);
const routesFile = join(tempFolder, 'routes.json');
const apiUrl = `http://127.0.0.1:${api.port}`;
writeFileSync(
  routesFile,
  JSON.stringify({
    routes: [
      {
        path: '/files/:name',
        target: `${apiUrl}/files/:name`,
        methods: { GET: {}, PUT: {} },
        bodyLimitBytes: 16 * megabyte,
      },
      { path: '/events', target: `${apiUrl}/events`, methods: { GET: {} }, stream: true },
      {
        path: '/socket',
        target: `${apiUrl}/socket`,
        methods: { GET: {} },
        webSocket: true,
        idleSeconds: 900,
      },
    ],
  }),
);
const deployment = await startDeployment(latchkey, {
  label: 'costs',
  processes: 1,
  settings: { accessTokenSeconds: 86_400 },
  env: {
    API_ROUTES_FILE: routesFile,
    LOG_LEVEL: 'info',
    ...Object.fromEntries(unlimited.map((name) => [name, '0'])),
  },
});
const [instance] = deployment.instances;

try {
  await measureStart();
  await measureSignIns();
  const user = deployment.browser('reader');
  await user.signIn(instance);
  await measurePages(user);
  await measureBodies(user);
  await measureEvents(user);
  await measureSockets(user);
} finally {
  await deployment.close();
  await stopProcess(apiProcess);
}
process.exit();

function readNumber(name) {
  const number = Number(options[name]);
  if (Number.isInteger(number) && number > 0) return number;
  console.error(`--${name} needs a whole number greater than 0`);
  return process.exit(2);
}

/** The result of `measureOnce`, in the middle of several rounds. */
async function medianOf(measureOnce, count = rounds) {
  const results = [];
  for (let round = 0; round < count; round += 1) results.push(await measureOnce());
  return median(results);
}

/** The CPU time of these processes during `work`, microseconds. */
async function cpuOf(pids, work) {
  const before = readCpuMicros(pids);
  await work();
  return readCpuMicros(pids) - before;
}

async function measureStart() {
  const cpu = [];
  const ms = await medianOf(async () => {
    await instance.terminate();
    const startedAt = performance.now();
    await instance.start();
    cpu.push(readCpuMicros([instance.pid]) / 1000);
    return performance.now() - startedAt;
  }, 5);
  printTable('Start, until the first response of /healthz', [
    ['', 'ms', 'CPU ms', 'RSS MB'],
    ['Latchkey', format(ms), format(median(cpu)), format(readResidentMb([instance.pid]))],
  ]);
}

async function measureSignIns() {
  await deployment.signIn(signIns, 'warm-up');
  const whole = await medianOf(() => cpuOf([instance.pid], () => deployment.signIn(signIns)));
  const start = await cpuOf([instance.pid], () =>
    mapConcurrently(Array.from({ length: signIns }), concurrency, () =>
      deployment.browser('starter').startSignIn(instance),
    ),
  );
  printTable('Sign-in, CPU time of Latchkey', [
    ['', 'µs'],
    ['GET /auth/login', format(start / signIns)],
    ['GET /auth/callback', format((whole - start) / signIns)],
  ]);
}

async function measurePages(user) {
  const rows = [];
  for (const [path, browser] of [
    ['/healthz'],
    ['/'],
    ['/profile', user],
    ['/auth/session', user],
    ['/auth/assets/style.css'],
  ]) {
    const url = `http://127.0.0.1:${instance.port}${path}`;
    const headers = {
      ...(browser ? headersOf(browser) : { host: new URL(deployment.publicOrigin).host }),
      'accept-encoding': 'gzip, br',
      ...(path === '/profile' || path === '/' ? { accept: 'text/html' } : {}),
    };
    const send = () =>
      mapConcurrently(Array.from({ length: pageRequests }), concurrency, async () => {
        const { status, error } = await sendRequest(url, { headers });
        if (status !== 200) throw new Error(`${path}: ${status} ${error}`);
      });
    await send();
    rows.push([`GET ${path}`, format((await medianOf(() => cpuOf([instance.pid], send))) / pageRequests)]);
  }
  printTable('Pages and files, CPU time of Latchkey', [['', 'µs'], ...rows]);
}

async function measureBodies(user) {
  const nginx = await startNginx([`127.0.0.1:${api.port}`]);
  const worker = readFileSync(`/proc/${nginx.child.pid}/task/${nginx.child.pid}/children`, 'utf8');
  const body = Buffer.alloc(megabyte, 'latchkey');
  const headers = headersOf(user);
  const rows = [];
  for (const [direction, options] of [
    ['down', {}],
    ['up', { body }],
  ]) {
    const cost = (port, pids, prefix) => {
      const path = `${prefix}/files/one?bytes=${megabyte}`;
      const send = () =>
        mapConcurrently(Array.from({ length: megabytes }), concurrency, () =>
          transfer({ port, path, headers, ...options }),
        );
      return async () => {
        await send(); // warm-up
        return (await medianOf(() => cpuOf(pids, send))) / megabytes;
      };
    };
    const own = await cost(instance.port, [instance.pid], '/api')();
    const other = await cost(nginx.port, worker.trim().split(' ').map(Number), '')();
    rows.push([`1 MB ${direction}`, format(own), format(other), format(own / other, 2)]);
  }
  await stopProcess(nginx.child, 'SIGTERM');
  printTable('Large bodies, CPU µs per request', [['', 'Latchkey', 'nginx', 'ratio'], ...rows]);
}

async function measureEvents(user) {
  const bytes = megabytes * megabyte;
  const request = { port: instance.port, path: `/api/events?bytes=${bytes}`, headers: headersOf(user) };
  const micros = await medianOf(() => cpuOf([instance.pid], () => transfer(request)));
  printTable('Server-sent events of 1 KB, one stream', [
    ['', 'CPU s/GB'],
    ['Latchkey', format((micros / 1e6) * (1024 / megabytes), 1)],
  ]);
}

async function measureSockets(user) {
  const request = { port: instance.port, path: '/api/socket', headers: headersOf(user) };
  const before = readResidentMb([instance.pid]);
  let open;
  const cpu = await cpuOf([instance.pid], async () => {
    open = await mapConcurrently(Array.from({ length: sockets }), concurrency, () => openSocket(request));
  });
  await delay(2_000);
  const grown = readResidentMb([instance.pid]) - before;
  const idle = await cpuOf([instance.pid], () => delay(idleSeconds * 1000));
  const stillOpen = open.filter(({ destroyed }) => !destroyed).length;
  for (const socket of open) socket.destroy();
  printTable(`${format(sockets)} idle WebSockets`, [
    ['', 'open at the end', 'CPU µs/handshake', 'kB each', 'CPU while idle, % of a core'],
    [
      'Latchkey',
      ...[format(stillOpen), format(cpu / sockets), format((grown * 1024) / sockets)],
      format(idle / idleSeconds / 10_000, 1),
    ],
  ]);
}
