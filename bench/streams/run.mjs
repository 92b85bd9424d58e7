// node bench/streams/run.mjs [--streams 1000] [--bytes 1073741824] [--build FOLDER] [--logs FOLDER]
// Two real processes of the app behind one Redis: event streams on the first end when people sign out on the second,
// and a large file goes up and down while the memory of the process is watched. Exits with 1 when a bound is broken.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { latchkey } from '../chaos/apps/latchkey.mjs';
import { endChild, keepLogsIn, scratch, startChild } from '../chaos/harness/children.mjs';
import { greatest, quantile } from '../chaos/harness/figures.mjs';
import { exchange } from '../chaos/harness/http.mjs';
import { delay, eachOf, until } from '../chaos/harness/waiting.mjs';
import { openWorld } from '../chaos/harness/world.mjs';
import { download, openEvents, upload } from './clients.mjs';

const longestMs = 1_000;
const mostGrowthMb = 50;
const people = 20;

const { values: options } = parseArgs({
  options: {
    streams: { type: 'string', default: '1000' },
    bytes: { type: 'string', default: String(1024 ** 3) },
    build: { type: 'string' },
    logs: { type: 'string' },
  },
});
const streams = Number(options.streams);
const bytes = Number(options.bytes);
if (options.logs) {
  mkdirSync(options.logs, { recursive: true });
  keepLogsIn(resolve(options.logs));
}

const failures = [];
function check(promise, isKept, measured) {
  console.log(`  ${isKept ? 'OK    ' : 'BROKEN'} ${promise}: ${measured}`);
  if (!isKept) failures.push(promise);
}

latchkey.prepare({ build: options.build && resolve(options.build) });
const api = await startUpstream();
const routesFile = join(scratch, 'routes.json');
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
const world = await openWorld(latchkey, {
  label: 'streams',
  processes: 2,
  env: { API_ROUTES_FILE: routesFile },
});
try {
  await eventStreams();
  await largeFiles();
  await shutdown();
} finally {
  await world.close();
  await api.close();
}
process.exit(failures.length === 0 ? 0 : 1);

async function eventStreams() {
  const [here, there] = world.instances;
  const persons = await world.signIn(people);
  const rows = await eachOf(
    Array.from({ length: streams }, (_, index) => persons[index % people]),
    50,
    async (person) => ({ person, stream: await openEvents(person, here) }),
  );
  const bystander = world.browser('bystander');
  await bystander.signIn(there);
  const untouched = await openEvents(bystander, here);
  console.log(`\n${streams} event streams of ${people} people on one process, who sign out on another`);

  // A person's streams are measured from the moment the answer to their logout is there.
  const signedOutAt = new Map();
  await Promise.all(
    persons.map(async (person) => {
      const { status } = await person.logOut(there);
      if (status !== 303) throw new Error(`${person.name} cannot sign out: ${status}`);
      signedOutAt.set(person, performance.now());
    }),
  );
  const endedMs = (
    await Promise.all(
      rows.map(({ person, stream }) =>
        Promise.race([stream.ended, delay(10_000, Number.POSITIVE_INFINITY, { ref: false })]).then(
          (at) => at - signedOutAt.get(person),
        ),
      ),
    )
  ).map((ms) => Math.max(0, ms));
  const isPrompt = endedMs.every((ms) => ms < longestMs);
  const figures = `p50 ${quantile(endedMs, 0.5).toFixed(0)} ms, slowest ${greatest(endedMs).toFixed(0)} ms`;
  check('every stream ends within 1 s of the logout', isPrompt, figures);
  const told = rows.filter(({ stream }) => /^event: /m.test(stream.text)).length;
  check('every stream ends with a final event', told === streams, `${told} of ${streams}`);
  const left = await until(async () => (await api.open()) === 1, 2_000);
  check(
    'the API is left alone',
    Boolean(left),
    `${await api.open()} streams open there, the bystander's among them`,
  );
  const isOpen = await Promise.race([untouched.ended.then(() => false), delay(200, true)]);
  check("another person's stream goes on", isOpen, isOpen ? 'open' : 'ended');
}

async function largeFiles() {
  const [, instance] = world.instances;
  const person = world.browser('mover');
  await person.signIn(instance);
  console.log(`\n${(bytes / 1024 ** 2).toFixed(0)} MB down and up through one process`);
  for (const [way, move] of [
    ['down', download],
    ['up', upload],
  ]) {
    await move(person, instance, 64 * 1024 ** 2); // what is loaded and compiled once does not count
    const before = residentMb(instance.pid);
    let highest = before;
    const watching = setInterval(() => {
      highest = Math.max(highest, residentMb(instance.pid));
    }, 20);
    const begun = performance.now();
    const arrived = await move(person, instance, bytes);
    const seconds = (performance.now() - begun) / 1000;
    clearInterval(watching);
    check(`everything arrives (${way})`, arrived === bytes, `${arrived} bytes in ${seconds.toFixed(1)} s`);
    const growth = highest - before;
    const figures = `${growth.toFixed(1)} MB, from ${before.toFixed(0)} to ${highest.toFixed(0)} MB`;
    check(`resident memory grows by less than ${mostGrowthMb} MB (${way})`, growth < mostGrowthMb, figures);
  }
}

async function shutdown() {
  const [here] = world.instances;
  const person = world.browser('last');
  await person.signIn(here);
  const stream = await openEvents(person, here);
  console.log('\nSIGTERM while an event stream is open');
  const begun = performance.now();
  process.kill(here.pid, 'SIGTERM');
  await stream.ended;
  const isGone = await until(() => !existsSync(`/proc/${here.pid}`), 5_000, 20);
  const ms = performance.now() - begun;
  check('the process goes within 2 s', isGone && ms < 2_000, `${ms.toFixed(0)} ms`);
}

/** Linux only, as the process is asked about from outside. */
function residentMb(pid) {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;
}

async function startUpstream() {
  const program = fileURLToPath(new URL('upstream.mjs', import.meta.url));
  const child = startChild('streams-api', process.execPath, [program], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ready = await new Promise((done, failed) => {
    createInterface({ input: child.stdout }).once('line', done);
    child.ended.then(() => failed(new Error('the API ended')));
  });
  const url = `http://127.0.0.1:${JSON.parse(ready).port}`;
  return {
    url,
    open: async () => JSON.parse((await exchange(`${url}/count`)).body).open,
    close: () => endChild(child),
  };
}
