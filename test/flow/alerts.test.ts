import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { root } from '../support/build.ts';
import { freePort } from '../support/processes.ts';
import { createRelay, type Relay } from '../support/relay.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { type Scrape, scrape } from '../support/scrape.ts';
import { testRedisUrl } from '../support/test-redis.ts';
import { createWorld, type World } from '../support/world.ts';

const promtool = process.env.TEST_PROMTOOL || 'promtool';
const rules = join(root, 'deploy/prometheus/latchkey-alerts.yml');

/** The scrapes of one process, one for each minute; `undefined` when it did not respond. */
const minutes: (Scrape | undefined)[] = [];
/** What must be firing at the end of the minute, and nothing else. */
const expected: { readonly minute: number; readonly what: string; readonly alerts: readonly string[] }[] = [];

let relay: Relay;
let world: World;
let apiPort: number;

beforeAll(async () => {
  const { hostname, port, pathname } = new URL(testRedisUrl());
  relay = await createRelay({ host: hostname, port: Number(port) });
  await relay.open();
  apiPort = Number(await freePort());
  world = await createWorld({
    accessTokenSeconds: 300,
    env: {
      REDIS_URL: `redis://127.0.0.1:${relay.port}${pathname}`,
      MAX_STREAMS_PER_SESSION: '1',
      API_ROUTES_FILE: writeRoutesFile([
        { path: '/profile', target: '/api/user/profile', methods: { GET: {} } },
        { path: '/other', target: `http://127.0.0.1:${apiPort}/x`, methods: { GET: {} }, token: 'none' },
        { path: '/events', target: `http://127.0.0.1:${apiPort}/x`, methods: { GET: {} }, stream: true },
      ]),
    },
  });
}, 30_000);
afterAll(async () => {
  await world.close();
  await relay.close();
});

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 60_000; !(await condition()); await delay(50))
    if (Date.now() > deadline) throw new Error(`not within a minute: ${condition}`);
}

/** `count` minutes, in each of which `act` happens once. */
async function pass(count: number, act: () => Promise<unknown> = async () => {}): Promise<void> {
  for (let minute = 0; minute < count; minute += 1) {
    await act();
    minutes.push(await scrape(world.latchkey));
  }
}

function expectFiring(what: string, ...alerts: readonly string[]): void {
  expected.push({ minute: minutes.length - 1, what, alerts: [...alerts].sort() });
}

/** Asks promtool which alerts fire at each of the expected minutes. */
function checkWithPromtool(): string {
  // The latency of Redis depends on how busy this machine is.
  const isSteady = (name: string) => !name.startsWith('latchkey_store_command_duration_seconds');
  const names = new Set(minutes.flatMap((each) => [...(each?.keys() ?? [])].filter(isSteady)));
  const labels = 'job="latchkey",instance="one:9464"';
  const series = [...names].map((name) => ({
    series: name.includes('{') ? name.replace('{', `{${labels},`) : `${name}{${labels}}`,
    values: minutes.map((each) => each?.get(name) ?? '_').join(' '),
  }));
  const up = { series: `up{${labels}}`, values: minutes.map((each) => (each ? 1 : 0)).join(' ') };
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-alerts-'));
  cpSync(rules, join(folder, 'rules.yml'));
  const test = {
    rule_files: ['rules.yml'],
    evaluation_interval: '1m',
    tests: [
      {
        interval: '1m',
        input_series: [up, ...series],
        promql_expr_test: expected.map(({ minute, alerts }) => ({
          expr: 'group by (alertname) (ALERTS{alertstate="firing"})',
          eval_time: `${minute}m`,
          exp_samples: alerts.map((alert) => ({ labels: `{alertname="${alert}"}`, value: 1 })),
        })),
      },
    ],
  };
  writeFileSync(join(folder, 'test.yml'), JSON.stringify(test)); // JSON is YAML
  try {
    return execFileSync(promtool, ['test', 'rules', 'test.yml'], {
      cwd: folder,
      encoding: 'utf8',
      stdio: 'pipe',
    });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    return `${JSON.stringify(expected)}\n${stdout}${stderr}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test('the alert rules are valid for Prometheus', () => {
  expect(execFileSync(promtool, ['check', 'rules', rules], { encoding: 'utf8' })).toContain(
    'SUCCESS: 13 rules found',
  );
});

test('in a scripted series of outages exactly the right alerts fire, and none after each recovery', async () => {
  const browser = world.browser();
  await world.signIn(browser, 'alice', '/auth/login?return_to=/');
  const work = () => browser.fetch('/api/profile');
  const signIn = () => world.signIn(world.browser(), 'bob', '/auth/login?return_to=/');
  const refresh = async () => {
    await world.clock.advance(301);
    await work();
  };
  await pass(5, signIn);
  await pass(10, work);
  expectFiring('nothing has failed');

  world.providerFaults.set({ path: /token$/, response: { status: 503 } });
  await pass(9, async () => {
    await signIn();
    await refresh();
  });
  expectFiring(
    'the token endpoint fails',
    'LatchkeyErrors',
    'LatchkeyLoginsFailing',
    'LatchkeyRefreshesFailing',
  );
  world.providerFaults.set(undefined);
  await world.clock.advance(10);
  await until(async () => (await work()).status === 200);
  await pass(12, work);
  expectFiring('the token endpoint has recovered');

  const rejection = {
    status: 401,
    headers: { 'content-type': 'application/json' },
    body: '{"error":"invalid_client"}',
  };
  world.providerFaults.set({ path: /token$/, response: rejection });
  await pass(4, signIn);
  expectFiring('the provider rejects the client', 'LatchkeyClientRejected', 'LatchkeyLoginsFailing');
  world.providerFaults.set(undefined);
  await pass(12, work);
  expectFiring('the provider accepts the client again');

  const failed =
    'latchkey_upstream_request_duration_seconds_count{route="/api/other",method="GET",status="failed"}';
  const countFailed = async () => (await scrape(world.latchkey)).get(failed) ?? 0;
  await pass(9, async () => {
    const before = await countFailed(); // while the circuit breaker is open, only probes fail
    for (let request = 0; request < 4; request += 1) await fetch(`${world.origin}/api/other`);
    await until(async () => {
      await fetch(`${world.origin}/api/other`);
      return (await countFailed()) > before;
    });
  });
  expectFiring(
    'nothing listens at the address of an API',
    'LatchkeyApiFailing',
    'LatchkeyCircuitBreakerOpen',
    'LatchkeyErrors',
  );
  const server = createServer((_req, res) =>
    res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders(),
  );
  await once(server.listen(apiPort, '127.0.0.1'), 'listening');
  const client = new AbortController();
  await until(
    async () => (await fetch(`${world.origin}/api/other`, { signal: client.signal })).status === 200,
  );
  client.abort();
  await pass(12, work);
  expectFiring('the API has recovered');

  await relay.close();
  await until(async () => (await work()).status === 503);
  await until(async () => (await scrape(world.latchkey)).get('latchkey_ready{part="store"}') === 0);
  await pass(9, work);
  expectFiring('Redis is unavailable', 'LatchkeyErrors', 'LatchkeyNotReady', 'LatchkeyStoreFailing');
  await relay.open();
  await until(async () => (await work()).status === 200);
  await until(async () => (await scrape(world.latchkey)).get('latchkey_ready{part="store"}') === 1);
  await pass(12, work);
  expectFiring('Redis is available again');

  const cookie = await browser.jar.getCookieString(world.origin);
  const streams = new AbortController();
  const open = () => fetch(`${world.origin}/api/events`, { headers: { cookie }, signal: streams.signal });
  expect((await open()).status).toBe(200);
  await pass(2, open);
  expectFiring('a user opens too many streams', 'LatchkeyLimitReached');
  streams.abort();
  await pass(12, work);
  expectFiring('no limit has been reached for a while');

  world.providerFaults.set({ path: /revocation/, response: { status: 503 } });
  await browser.step('/auth/logout', { method: 'POST', from: world.origin });
  await pass(70);
  expectFiring('tokens cannot be revoked', 'LatchkeyRevocationsStuck');
  world.providerFaults.set(undefined);
  await until(async () => (await scrape(world.latchkey)).get('latchkey_revocations_pending') === 0);
  await pass(8);
  expectFiring('all tokens are revoked');

  for (let minute = 0; minute < 5; minute += 1) minutes.push(undefined);
  expectFiring('the process has died', 'LatchkeyDown');
  server.close().closeAllConnections();

  expect(checkWithPromtool()).toMatch(/^Unit Testing:\s+test\.yml\s+SUCCESS\s*$/);
}, 240_000);
