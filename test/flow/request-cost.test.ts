import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import http, { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { json } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import { type DemoProvider, startDemoProvider } from '../../demo/provider.ts';
import { Browser } from '../support/browser.ts';
import { buildApp, root } from '../support/build.ts';
import { freePort, killChildren, validEnv, watch } from '../support/processes.ts';
import { testRedisUrl } from '../support/test-redis.ts';
import { finishSignIn } from '../support/world.ts';

const nodeMajor = Number.parseInt(process.versions.node, 10);

type Counts = Readonly<Record<string, number>>;

/**
 * The most that a signed-in GET may cause in the process: async resources by type, and the parts of writes. What is not listed
 * must not occur. When a change makes a request cheaper, lower the number. Raise one only for something that requests need, and
 * say in the commit what it costs (`npm run bench -- proxy`).
 */
interface Limits {
  readonly most: Counts;
  /** Each of these is a system call or a round trip. */
  readonly exact: Counts;
}

const writes = { 'write to api': 1, 'write to browser': 1, 'write to standard output': 1 };
// On Node.js 20, an empty part marks the end of a response.
const parts = { 'part of a write to api': 1, 'part of a write to browser': nodeMajor < 24 ? 2 : 1 };

const justRead: Limits = {
  most: { PROMISE: 22, TickObject: 11, Immediate: 3, Timeout: 2, ...parts },
  exact: writes,
};
const readForEach: Limits = {
  most: { PROMISE: 34, TickObject: 13, Immediate: 4, Timeout: 4, 'part of a write to redis': 1, ...parts },
  exact: { 'Redis command get': 1, 'write to redis': 1, ...writes },
};

const warmUp = 200;
const measured = 200;
const path = '/api/profile';
const hook = pathToFileURL(join(root, 'test/support/count-request-cost.mjs')).href;

let buildDir: string;
const providers: DemoProvider[] = [];
let api: Server;
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
beforeAll(() => {
  buildDir = buildApp();
}, 60_000);
beforeAll(async () => {
  const body = JSON.stringify({ sub: 'alice', text: 'x'.repeat(1_000) });
  const headers = { 'content-type': 'application/json', 'content-length': body.length };
  api = createServer((_req, res) => res.writeHead(200, headers).end(body));
  await once(api.listen(0, '127.0.0.1'), 'listening');
});
afterAll(async () => {
  killChildren();
  agent.destroy();
  api.close().closeAllConnections();
  await Promise.all(providers.map((each) => each.close()));
  rmSync(buildDir, { recursive: true, force: true });
});

test.each([
  ['a session that was just read costs no Redis command', '500', justRead],
  ['a session that is read for each request costs one Redis command', '0', readForEach],
])(
  'a signed-in GET with %s, one write to each peer and to the log, and no more async resources than before',
  async (_, cacheMs, { most, exact }) => {
    const perRequest = await countPerRequest(cacheMs);
    expect(perRequest).toHaveLength(measured);
    const names = new Set(perRequest.flatMap((each) => Object.keys(each)));
    const counts = Object.fromEntries([...names].map((name) => [name, usualCount(perRequest, name)]));
    const others = Object.entries(counts).filter(([name]) => !(name in exact));
    const exceeded = others.filter(([name, count]) => count > (most[name] ?? 0));
    expect(exceeded.map(([name, count]) => `${name}: ${count}, at most ${most[name] ?? 0}`)).toEqual([]);
    expect(counts).toMatchObject(exact);
  },
  120_000,
);

/** What three of four requests reach. Some requests catch work of the background too: the slower the machine, the more. */
function usualCount(perRequest: readonly Counts[], name: string): number {
  const values = perRequest.map((each) => each[name] ?? 0).sort((one, other) => one - other);
  return values[Math.floor(values.length * 0.25)]!;
}

/** What each of the measured requests caused in a process of the built app. */
async function countPerRequest(cacheMs: string): Promise<readonly Counts[]> {
  const origin = `http://localhost:${await freePort()}`;
  const child = await startCountingProcess(origin, cacheMs);
  const cookie = await signIn(origin);
  const counted = json(child.stdio[3] as Readable);
  // The counts of a request are complete when the next one arrives.
  for (let sent = 0; sent < warmUp + measured + 1; sent += 1) expect(await send(origin, cookie)).toBe(200);
  return (await counted) as readonly Counts[];
}

async function startCountingProcess(origin: string, cacheMs: string) {
  const client = { clientId: 'latchkey-test', clientSecret: 'a-client-secret' };
  const provider = await startDemoProvider({
    port: 0,
    ...client,
    redirectUris: [`${origin}/auth/callback`],
    postLogoutRedirectUris: [`${origin}/auth/signed-out`],
    resourceServer: { clientId: 'the-api', clientSecret: 'not used' },
    accessTokenSeconds: 3_600,
  });
  providers.push(provider);
  const apiPort = (api.address() as AddressInfo).port;
  const query = new URLSearchParams({
    path,
    skip: String(warmUp),
    count: String(measured),
    redis: new URL(testRedisUrl()).port,
    api: String(apiPort),
  });
  const child = spawn(process.execPath, ['--import', `${hook}?${query}`, join(buildDir, 'dist/main.js')], {
    cwd: buildDir,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH ?? '',
      ...validEnv,
      NODE_ENV: 'production',
      PORT: new URL(origin).port,
      OAUTH2_ISSUER: provider.issuer,
      OAUTH2_CLIENT_ID: client.clientId,
      OAUTH2_CLIENT_SECRET: client.clientSecret,
      OAUTH2_REDIRECT_URI: `${origin}/auth/callback`,
      OAUTH2_API_BASE_URL: `http://127.0.0.1:${apiPort}`,
      REDIS_URL: testRedisUrl(),
      SESSION_CACHE_MS: cacheMs,
    },
  });
  await watch(child).waitForOutput('Latchkey is listening');
  return child;
}

/** Signs a user in, and returns the value of the `Cookie` header. */
async function signIn(origin: string): Promise<string> {
  const browser = new Browser(origin);
  await finishSignIn(browser, await browser.go('/auth/login'));
  return browser.jar.getCookieString(origin);
}

/** Sends one request on the only connection; resolves to the status when the response is complete. */
function send(origin: string, cookie: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const headers = { cookie, accept: '*/*', 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors' };
    http
      .get(origin + path, { agent, headers }, (res) => {
        res.on('error', reject).on('end', () => resolve(res.statusCode));
        res.resume();
      })
      .on('error', reject);
  });
}
