import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type AppTokenWorld, createAppTokenWorld } from '../support/app-tokens.ts';
import { buildApp, root } from '../support/build.ts';
import { listenOnFreePort } from '../support/latchkey.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { testRedisUrl } from '../support/test-redis.ts';

let buildDir: string;
let world: AppTokenWorld;
const workers: ChildProcess[] = [];

beforeAll(async () => {
  buildDir = buildApp();
  world = await createAppTokenWorld();
}, 60_000);
afterAll(async () => {
  for (const each of workers) each.kill();
  await world.close();
  rmSync(buildDir, { recursive: true, force: true });
});

const environment = (issuer: string) => ({
  PATH: process.env.PATH,
  OAUTH2_ISSUER: 'http://localhost:1', // users sign in at another provider
  OAUTH2_CLIENT_ID: 'client-for-users',
  OAUTH2_CLIENT_SECRET: 'client-for-users',
  OAUTH2_REDIRECT_URI: 'http://localhost:3000/auth/callback',
  OAUTH2_API_BASE_URL: 'http://localhost:2',
  OAUTH2_APP_ISSUER: issuer,
  OAUTH2_APP_CLIENT_ID: world.client.clientId,
  OAUTH2_APP_CLIENT_SECRET: world.client.clientSecret,
  SESSION_SECRET: 'a-secret-for-tests-that-is-long-enough',
  REDIS_URL: testRedisUrl(),
  LOG_LEVEL: 'warn',
  AUDIT_LOG: 'none',
  LOG_FORMAT: 'json',
});

/** Starts a process that is configured and connected to Redis, and has not requested a token yet. */
async function startWorker(issuer = world.provider.issuer): Promise<ChildProcess> {
  const worker = fork(join(root, 'test/support/app-token-worker.mjs'), [join(buildDir, 'dist')], {
    execArgv: [],
    env: environment(issuer),
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  workers.push(worker);
  await once(worker, 'message');
  return worker;
}

/** The access tokens, or error codes, that parallel calls in the worker get. */
async function callInWorker(
  worker: ChildProcess,
  calls: number,
  scope: readonly string[],
): Promise<string[]> {
  const message = once(worker, 'message');
  worker.send({ calls, scope });
  const [results] = await message;
  return results as string[];
}

test('500 parallel calls in 4 processes with an empty cache send one request to a slow provider', async () => {
  await Promise.all([1, 2, 3, 4].map(() => startWorker()));
  world.reset();
  world.faults.set({ delayMs: 200 });
  const results = await Promise.all(workers.map((each) => callInWorker(each, 125, ['read:data'])));
  expect(results.flat()).toHaveLength(500);
  expect(new Set(results.flat()).size).toBe(1);
  expect(world.tokenRequestCount()).toBe(1);

  const lateWorker = await startWorker();
  const cached = await Promise.all(workers.map((each) => callInWorker(each, 125, ['read:data'])));
  expect(await callInWorker(lateWorker, 1, ['read:data'])).toEqual([results[0]![0]]);
  expect(new Set([...results.flat(), ...cached.flat()]).size).toBe(1);
  expect(world.tokenRequestCount()).toBe(1);
}, 60_000);

test('500 parallel API calls through 4 instances request one token, and every call carries it', async () => {
  const authorizations: (string | undefined)[] = [];
  const api = createServer((req, res) => {
    authorizations.push(req.headers.authorization);
    res.end('{}');
  }).listen(0, '127.0.0.1');
  await once(api, 'listening');
  const target = `http://127.0.0.1:${(api.address() as AddressInfo).port}/things`;
  const routes = writeRoutesFile([
    { path: '/things', target, token: 'app', methods: { GET: { allOf: ['write:data'] } } },
  ]);
  const origins = await Promise.all(
    [1, 2, 3, 4].map(async () => {
      const { server, origin } = await listenOnFreePort();
      await new Promise((closed) => server.close(closed));
      const { port } = new URL(origin);
      const env = { ...environment(world.provider.issuer), PORT: port, API_ROUTES_FILE: routes };
      const child = fork(join(buildDir, 'dist/main.js'), {
        execArgv: [],
        env,
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      });
      workers.push(child);
      while (!(await fetch(`${origin}/healthz`).catch(() => undefined))) await delay(20);
      return origin;
    }),
  );
  world.reset();
  world.faults.set({ delayMs: 200 });
  const calls = origins.flatMap((origin) => Array.from({ length: 125 }, () => fetch(`${origin}/api/things`)));
  const statuses = (await Promise.all(calls)).map(({ status }) => status);
  expect(statuses).toEqual(Array(500).fill(200));
  expect([authorizations.length, new Set(authorizations).size]).toEqual([500, 1]);
  expect(world.tokenRequestCount()).toBe(1);
  api.closeAllConnections();
  api.close();
}, 60_000);

test('a provider that refuses connections yields temporarily_unavailable for every caller and one log line', async () => {
  const { server, origin } = await listenOnFreePort();
  await new Promise((closed) => server.close(closed));
  const unreachable = await Promise.all([startWorker(origin), startWorker(origin)]);
  let log = '';
  for (const each of unreachable)
    each.stdout!.on('data', (chunk) => {
      log += chunk;
    });
  const results = await Promise.all(unreachable.map((each) => callInWorker(each, 250, ['read:data'])));
  expect(new Set(results.flat())).toEqual(new Set(['temporarily_unavailable']));
  const outputsEnded = unreachable.map((each) => once(each.stdout!, 'end'));
  for (const each of unreachable) each.disconnect();
  await Promise.all(outputsEnded);
  expect(log.match(/"kind":"unavailable"/g)).toHaveLength(1);
}, 60_000);
