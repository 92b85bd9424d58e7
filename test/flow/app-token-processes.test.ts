import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type AppTokenWorld, createAppTokenWorld } from '../support/app-tokens.ts';
import { buildApp, root } from '../support/build.ts';
import { openPort } from '../support/latchkey.ts';

let built: string;
let world: AppTokenWorld;
const workers: ChildProcess[] = [];

beforeAll(async () => {
  built = buildApp();
  world = await createAppTokenWorld();
}, 60_000);
afterAll(async () => {
  for (const each of workers) each.kill();
  await world.close();
  rmSync(built, { recursive: true, force: true });
});

/** A process that has its configuration and its Redis, and has asked nobody anything. */
async function startWorker(issuer = world.provider.issuer): Promise<ChildProcess> {
  const worker = fork(join(root, 'test/support/app-token-worker.mjs'), [built], {
    execArgv: [],
    env: {
      PATH: process.env.PATH,
      OAUTH2_ISSUER: 'http://localhost:1', // users sign in elsewhere
      OAUTH2_CLIENT_ID: 'of-the-users',
      OAUTH2_CLIENT_SECRET: 'of-the-users',
      OAUTH2_REDIRECT_URI: 'http://localhost:3000/auth/callback',
      OAUTH2_API_BASE_URL: 'http://localhost:2',
      OAUTH2_APP_ISSUER: issuer,
      OAUTH2_APP_CLIENT_ID: world.client.clientId,
      OAUTH2_APP_CLIENT_SECRET: world.client.clientSecret,
      SESSION_SECRET: 'x'.repeat(32),
      REDIS_URL: process.env.TEST_REDIS_URL,
      LOG_LEVEL: 'warn',
    },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  workers.push(worker);
  await once(worker, 'message');
  return worker;
}

async function callsIn(worker: ChildProcess, calls: number, scope: readonly string[]): Promise<string[]> {
  const answer = once(worker, 'message');
  worker.send({ calls, scope });
  const [got] = await answer;
  return got as string[];
}

test('500 parallel calls on 4 processes with nothing cached ask a slow provider once', async () => {
  await Promise.all([1, 2, 3, 4].map(() => startWorker()));
  world.begin();
  world.faults.set({ delayMs: 200 });
  const got = await Promise.all(workers.map((each) => callsIn(each, 125, ['read:data'])));
  expect(got.flat()).toHaveLength(500);
  expect(new Set(got.flat()).size).toBe(1);
  expect(world.asked()).toBe(1);

  const late = await startWorker();
  const all = await Promise.all(workers.map((each) => callsIn(each, 125, ['read:data'])));
  expect(await callsIn(late, 1, ['read:data'])).toEqual([got[0]![0]]);
  expect(new Set([...got.flat(), ...all.flat()]).size).toBe(1);
  expect(world.asked()).toBe(1);
}, 60_000);

test('a provider that refuses connections is 503 for everybody, and told once', async () => {
  const { server, origin } = await openPort();
  await new Promise((closed) => server.close(closed));
  const unreachable = await Promise.all([startWorker(origin), startWorker(origin)]);
  let log = '';
  for (const each of unreachable)
    each.stdout!.on('data', (chunk) => {
      log += chunk;
    });
  const got = await Promise.all(unreachable.map((each) => callsIn(each, 250, ['read:data'])));
  expect(new Set(got.flat())).toEqual(new Set(['temporarily_unavailable']));
  const told = unreachable.map((each) => once(each.stdout!, 'end'));
  for (const each of unreachable) each.disconnect();
  await Promise.all(told);
  expect(log.match(/"kind":"unavailable"/g)).toHaveLength(1);
}, 60_000);
