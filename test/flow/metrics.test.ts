import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Browser } from '../support/browser.ts';
import { freePort } from '../support/processes.ts';
import { createRelay, type Relay } from '../support/relay.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { differences, type Scrape, scrape } from '../support/scrape.ts';
import { testRedisUrl } from '../support/test-redis.ts';
import { createWorld, type World } from '../support/world.ts';

let relay: Relay;
let world: World;
let browser: Browser;
let before: Scrape;
/** Nothing listens there until a test does. */
let apiPort: number;
beforeEach(async () => {
  const { hostname, port, pathname } = new URL(testRedisUrl());
  relay = await createRelay({ host: hostname, port: Number(port) });
  await relay.open();
  apiPort = Number(await freePort());
  const target = `http://127.0.0.1:${apiPort}/x`;
  world = await createWorld({
    accessTokenSeconds: 100,
    env: {
      API_ROUTES_FILE: writeRoutesFile([
        { path: '/profile', target: '/api/user/profile', methods: { GET: {} } },
        { path: '/gone', target, methods: { GET: {} }, token: 'none' },
        { path: '/events', target, methods: { GET: {} }, stream: true },
      ]),
      REDIS_URL: `redis://127.0.0.1:${relay.port}${pathname}`,
      MAX_STREAMS_PER_SESSION: '1',
    },
  });
  browser = world.browser();
});
afterEach(async () => {
  relay.resume();
  await world.close();
  await relay.close();
});

const api = 'route="/api/profile",method="GET"';
const changes = async () => differences(before, await scrape(world.latchkey));

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(20);
}

/** The response has been received before the server knows that it has been sent. */
async function waitForChange(series: string, by = 1): Promise<void> {
  await until(async () => ((await changes())[series] ?? 0) >= by);
}

test('a login and a request to an API move the metrics of their routes, of the API and of the provider', async () => {
  before = await scrape(world.latchkey);
  await world.signIn(browser, 'alice', '/auth/login?return_to=/');
  expect((await browser.fetch('/api/profile')).status).toBe(200);
  await waitForChange(`latchkey_http_requests_total{${api},status="2xx"}`);
  expect(await changes()).toMatchObject({
    latchkey_logins_started_total: 1,
    'latchkey_logins_total{outcome="success"}': 1,
    'latchkey_provider_request_duration_seconds_count{operation="authorization_code",outcome="success"}': 1,
    'latchkey_http_requests_total{route="/auth/login",method="GET",status="3xx"}': 1,
    'latchkey_http_requests_total{route="/auth/callback",method="GET",status="3xx"}': 1,
    [`latchkey_http_requests_total{${api},status="2xx"}`]: 1,
    [`latchkey_http_request_duration_seconds_count{${api},status="2xx"}`]: 1,
    [`latchkey_upstream_request_duration_seconds_count{${api},status="2xx"}`]: 1,
    latchkey_lease_wait_seconds_count: 1,
  });
  expect((await changes())['latchkey_store_command_duration_seconds_count{command="get"}']).toBeGreaterThan(
    0,
  );
});

test('a login that the provider fails is counted by the kind of failure', async () => {
  const callback = await browser.go('/auth/login');
  before = await scrape(world.latchkey);
  world.providerFaults.set({ path: /token$/, response: { status: 503 } });
  await world.signIn(browser);
  world.providerFaults.set(undefined);
  expect(callback.status).toBe(200);
  const changed = await changes();
  expect(changed['latchkey_logins_total{outcome="success"}']).toBeUndefined();
  expect(Object.keys(changed).filter((each) => each.startsWith('latchkey_logins_total'))).toHaveLength(1);
});

test('concurrent requests that share a refresh count as one refresh, and the others as shared', async () => {
  await world.signIn(browser);
  before = await scrape(world.latchkey);
  await world.clock.advance(101);
  await Promise.all(Array.from({ length: 5 }, () => browser.fetch('/api/profile')));
  expect(await changes()).toMatchObject({
    'latchkey_refreshes_total{outcome="success"}': 1,
    'latchkey_refreshes_shared_total{with="process"}': 4,
  });
});

test('a refresh that another instance has made counts as shared with an instance', async () => {
  await world.signIn(browser);
  const other = await world.startAnotherInstance();
  const cookie = await browser.jar.getCookieString(world.origin);
  before = await scrape(world.latchkey);
  const beforeOther = await scrape(other);
  await world.clock.advance(101);
  const get = (origin: string) => fetch(`${origin}/api/profile`, { headers: { cookie } });
  await Promise.all([world.origin, other.origin].map(get));
  const sum = (series: string, there: Record<string, number>, here: Record<string, number>) =>
    (there[series] ?? 0) + (here[series] ?? 0);
  const [here, there] = [await changes(), differences(beforeOther, await scrape(other))];
  expect(sum('latchkey_refreshes_total{outcome="success"}', here, there)).toBe(1);
  expect(sum('latchkey_refreshes_shared_total{with="instance"}', here, there)).toBe(1);
});

test('sign-outs, and sessions that the provider ends, are counted by reason; revocations by outcome', async () => {
  await world.signIn(browser);
  const other = world.browser();
  await world.signIn(other, 'bob');
  before = await scrape(world.latchkey);
  await browser.step('/auth/logout', { method: 'POST', from: world.origin });
  world.providerFaults.set({
    path: /token$/,
    response: {
      status: 400,
      headers: { 'content-type': 'application/json' },
      body: '{"error":"invalid_grant"}',
    },
  });
  await world.clock.advance(101);
  expect((await other.fetch('/api/profile')).status).toBe(401);
  await until(async () => ((await changes())['latchkey_revocations_total{outcome="success"}'] ?? 0) === 2);
  expect(await changes()).toMatchObject({
    'latchkey_sessions_ended_total{reason="signed_out"}': 1,
    'latchkey_sessions_ended_total{reason="refresh_rejected"}': 1,
    'latchkey_refreshes_total{outcome="invalid_grant"}': 1,
  });
});

test('an API that cannot be reached is counted, and its circuit breaker shows as open until it responds', async () => {
  const target = `http://127.0.0.1:${apiPort}`;
  const open = `latchkey_circuit_breaker_open{kind="api_host",name="${target}"}`;
  const get = async () => (await fetch(`${world.origin}/api/gone`)).status;
  before = await scrape(world.latchkey);
  await until(async () => (await get()) === 503);
  expect((await scrape(world.latchkey)).get(open)).toBe(1);
  expect(
    (await changes())[
      'latchkey_upstream_request_duration_seconds_count{route="/api/gone",method="GET",status="failed"}'
    ],
  ).toBeGreaterThanOrEqual(10);
  const server = createServer((_req, res) => res.end('here again'));
  await once(server.listen(apiPort, '127.0.0.1'), 'listening');
  await until(async () => (await get()) === 200);
  expect((await scrape(world.latchkey)).get(open)).toBe(0);
  server.close().closeAllConnections();
}, 20_000);

test('an open stream is counted until it ends, and so is a stream that a limit refuses', async () => {
  await world.signIn(browser);
  const cookie = await browser.jar.getCookieString(world.origin);
  const server = createServer((_req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
  });
  await once(server.listen(apiPort, '127.0.0.1'), 'listening');
  before = await scrape(world.latchkey);
  const client = new AbortController();
  const open = (signal: AbortSignal) => fetch(`${world.origin}/api/events`, { headers: { cookie }, signal });
  expect((await open(client.signal)).status).toBe(200);
  expect((await open(client.signal)).status).toBe(429);
  await waitForChange('latchkey_limit_rejections_total{limit="MAX_STREAMS_PER_SESSION"}');
  expect((await scrape(world.latchkey)).get('latchkey_open_streams')).toBe(1);
  client.abort();
  await until(async () => (await scrape(world.latchkey)).get('latchkey_open_streams') === 0);
  const route = 'route="/api/events",method="GET",status="2xx"';
  await waitForChange(`latchkey_http_requests_total{${route}}`);
  expect((await changes())[`latchkey_http_request_duration_seconds_count{${route}}`]).toBeUndefined();
  server.close().closeAllConnections();
});

test('metrics are served while Redis is unavailable, without the values that only Redis knows', async () => {
  await world.signIn(browser);
  before = await scrape(world.latchkey);
  expect(before.get('latchkey_revocations_pending')).toBe(0);
  await relay.close();
  expect((await browser.fetch('/api/profile')).status).toBe(503);
  await until(async () => (await scrape(world.latchkey)).get('latchkey_ready{part="store"}') === 0);
  const during = await scrape(world.latchkey);
  expect(during.has('latchkey_revocations_pending')).toBe(false);
  expect(during.get('latchkey_ready{part="provider"}')).toBe(1);
  expect(during.get('latchkey_store_errors_total{command="get"}')).toBeGreaterThan(0);
  await relay.open();
  await until(async () => (await scrape(world.latchkey)).get('latchkey_ready{part="store"}') === 1);
  expect((await scrape(world.latchkey)).get('latchkey_revocations_pending')).toBe(0);
});

test('a Redis that hangs does not delay a scrape for more than two seconds', async () => {
  relay.pause();
  const startedAt = performance.now();
  const values = await scrape(world.latchkey);
  expect(performance.now() - startedAt).toBeLessThan(2_000);
  expect(values.get('latchkey_ready{part="store"}')).toBe(0);
});

test('whatever strangers request, they add no label values', async () => {
  const paths = Array.from({ length: 50 }, (_, index) => `/made-up-${index}`);
  for (const path of paths)
    for (const url of [path, `/api${path}`, `/auth${path}`, `/auth/assets${path}`])
      await fetch(world.origin + url, { method: 'PROPFIND' });
  const text = await world.latchkey.deps.metrics.registry.metrics();
  expect(text).not.toContain('made-up');
  const routes = new Set(
    [...text.matchAll(/http_requests_total\{route="([^"]*)",method="other"/g)].map(([, each]) => each),
  );
  expect([...routes].sort()).toEqual(['/api', '/auth/assets', 'other']);
});

test('no metric contains a user, a session, an address or a token', async () => {
  await world.signIn(browser);
  await browser.fetch('/api/profile?secret=in-the-query');
  const text = await world.latchkey.deps.metrics.registry.metrics();
  const session = decodeURIComponent((await browser.sessionCookie()) ?? '')
    .replace(/^s:/, '')
    .split('.')[0]!;
  const secrets = ['alice', session, 'in-the-query', ...world.issued.access, ...world.issued.refresh];
  expect(secrets.filter((each) => text.includes(each))).toEqual([]);
  expect(text.replaceAll(/name="http[^"]*"/g, '')).not.toContain('127.0.0.1');
});

test('the sessions of all instances are counted, without those that have ended', async () => {
  const other = await world.startAnotherInstance();
  before = await scrape(other);
  const already = before.get('latchkey_sessions_live') ?? 0;
  await world.signIn(browser);
  const second = world.browser();
  await world.signIn(second, 'bob');
  expect((await scrape(other)).get('latchkey_sessions_live')).toBe(already + 2);
  await second.step('/auth/logout', { method: 'POST', from: world.origin });
  expect((await scrape(other)).get('latchkey_sessions_live')).toBe(already + 1);
});
