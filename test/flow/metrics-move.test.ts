import { once } from 'node:events';
import http, { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import type { AuditEvent } from '../../src/audit/audit-events.ts';
import type { Deps } from '../../src/deps.ts';
import { storeUnavailable } from '../../src/errors.ts';
import { addProcessMetrics } from '../../src/metrics/metrics.ts';
import type { Browser } from '../support/browser.ts';
import {
  documentedMetrics,
  documentedOperations,
  documentedValues,
  isDocumented,
} from '../support/documented-metrics.ts';
import { failAtStep } from '../support/fail-at-step.ts';
import { createLatch } from '../support/latch.ts';
import { createMovedMetrics, metricOf, until } from '../support/moved-metrics.ts';
import { createRelay } from '../support/relay.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { testRedisUrl } from '../support/test-redis.ts';
import { createWorld, type World, type WorldOptions } from '../support/world.ts';

import.meta.jest.setTimeout(90_000); // each wait has a limit of its own

const { seen, look, hasMoved, untilMoved } = createMovedMetrics();

const json = { 'content-type': 'application/json' };
/** What a token endpoint answers, by the outcome that it leads to. */
const answers = {
  unavailable: { status: 503, headers: json, body: '{}' },
  outcome_unknown: { status: 500, headers: json, body: '{}' },
  invalid_grant: { status: 400, headers: json, body: '{"error":"invalid_grant"}' },
  rejected_other: { status: 400, headers: json, body: '{"error":"invalid_request"}' },
  client_misconfigured: { status: 401, headers: json, body: '{"error":"invalid_client"}' },
  invalid_response: { status: 200, headers: json, body: '{"access_token":"x","token_type":"mac"}' },
} as const;
type Answer = keyof typeof answers;
const answerNames = Object.keys(answers) as Answer[];

let world: World;
/** What goes wrong in the next calls of Latchkey to the store or the provider. */
let fault:
  | 'put fails'
  | 'put fails unexpectedly'
  | 'session data cannot be saved'
  | 'put loses the refresh token'
  | 'lease is lost'
  | 'provider is unreachable'
  | undefined;
/** How many refreshes have asked the store for the lease of a session. */
let refreshesBegun: number;
let api: Server;
let apiUrl: string;
let respond: (req: IncomingMessage, res: ServerResponse) => void;
let upgrade: (req: IncomingMessage, socket: Socket, head: Buffer) => void;
const webSockets = new WebSocketServer({ noServer: true });
/** Closes what the test has opened, last opened first. */
const cleanUps: (() => unknown)[] = [];

async function listen(server: Server): Promise<string> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  cleanUps.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

beforeEach(async () => {
  fault = undefined;
  refreshesBegun = 0;
  respond = (_req, res) => void res.end('plain');
  upgrade = (req, socket, head) => webSockets.handleUpgrade(req, socket, head, () => {});
  api = createServer((req, res) => respond(req, res)).on('upgrade', (req, socket, head) =>
    upgrade(req, socket as Socket, head),
  );
  apiUrl = await listen(api);
});
afterEach(async () => {
  for (const each of webSockets.clients) each.terminate();
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** Starts a world of this test alone, because clocks and circuit breakers outlast what a test does with them. */
async function start({ env, ...options }: WorldOptions = {}): Promise<void> {
  world = await createWorld({
    store: 'memory',
    accessTokenSeconds: 100,
    wrap: withFaults,
    ...options,
    env: {
      OAUTH2_SCOPES: 'openid profile read:profile read:data',
      TRUST_PROXY: '127.0.0.1,::1',
      ...env,
    },
  });
  const { close } = world;
  cleanUps.push(close);
  await look(world.latchkey);
}

function withFaults({ tokenStore, sessionStore, fetch }: Deps): Partial<Deps> {
  const refused = Object.assign(new Error('connection refused'), { code: 'ECONNREFUSED' });
  return {
    fetch: (...args) =>
      fault === 'provider is unreachable'
        ? Promise.reject(new TypeError('fetch failed', { cause: refused }))
        : fetch(...args),
    sessionStore: failAtStep(sessionStore, {
      get name() {
        return fault === 'session data cannot be saved' ? 'set' : undefined;
      },
    }),
    tokenStore: {
      ...tokenStore,
      put: async (id, record) => {
        if (fault === 'put fails') throw storeUnavailable(new Error('for this test'));
        if (fault === 'put fails unexpectedly') throw new Error('for this test');
        const { refreshToken: _, ...tokens } = record.tokens;
        const isLost = fault === 'put loses the refresh token';
        await tokenStore.put(id, isLost ? { ...record, tokens } : record);
      },
      update: (id, change, onDiscarded) => {
        refreshesBegun += 1;
        const fail = () => Promise.reject(storeUnavailable(new Error('for this test')));
        return tokenStore.update(
          id,
          (newest, confirm) => change(newest, fault === 'lease is lost' ? fail : confirm),
          onDiscarded,
        );
      },
    },
  };
}

const routes = (...rows: readonly object[]) =>
  writeRoutesFile([
    { path: '/profile', target: '/api/user/profile', methods: { GET: {} } },
    ...rows.map((row) => ({ methods: { GET: {} }, ...row })),
  ]);

const untilHereMoved = (metric: string, ...labels: readonly string[]) =>
  untilMoved(world.latchkey, metric, ...labels);

async function signedIn(user = 'alice'): Promise<Browser> {
  const browser = world.browser();
  await world.signIn(browser, user, '/auth/login?return_to=/');
  return browser;
}

const signOut = (browser: Browser) => browser.step('/auth/logout', { method: 'POST', from: world.origin });

/** How often this metric of one label has counted each value, without those that it has not. */
async function counted(metric: string): Promise<Record<string, number>> {
  const values = [...(await look(world.latchkey))].filter(
    ([series, value]) => metricOf(series) === metric && value > 0,
  );
  return Object.fromEntries(values.map(([series, value]) => [series.split('"')[1], value]));
}

/** How often the audit log has this event, by reason. */
function audited(event: AuditEvent): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const line of world.latchkey.auditLines().filter((each) => each.event === event))
    counts[line.reason ?? ''] = (counts[line.reason ?? ''] ?? 0) + 1;
  return counts;
}

const auditedLogins = () => ({ success: audited('login_succeeded')[''], ...audited('login_failed') });

/** A login that is back from the provider: the URL of the callback, not yet requested. */
async function returned(): Promise<{ readonly browser: Browser; readonly callback: string }> {
  const browser = world.browser();
  const page = await browser.go('/auth/login');
  const isBack = (url: string) => url.includes('/auth/callback');
  const fields = { login: 'alice', password: 'any' };
  const next = await browser.submit(page, fields, { action: '/login', until: isBack });
  if (isBack(next.url)) return { browser, callback: next.url };
  const { url } = await browser.submit(next, { decision: 'allow' }, { action: '/consent', until: isBack });
  return { browser, callback: url };
}

/** The callback without the code, with these parameters. */
function callbackWith(callback: string, parameters: Readonly<Record<string, string>>): string {
  const url = new URL(callback);
  url.searchParams.delete('code');
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url.href;
}

const logins = 'latchkey_logins_total';
const rejections = 'latchkey_limit_rejections_total';
const sessionsEnded = 'latchkey_sessions_ended_total';
const sharedRefreshes = 'latchkey_refreshes_shared_total';
const breakers = 'latchkey_circuit_breaker_open';
const upstream = 'latchkey_upstream_request_duration_seconds';
const label = (name: string) => (value: string) => `${name}="${value}"`;
const outcomeOf = label('outcome');
const limitOf = label('limit');
const kindOf = label('kind');
const statusOf = label('status');
const reasonOf = label('reason');

test('requests count by route and class of status; one without a response as 4xx, a call of the console for its route', async () => {
  const plainRoute = {
    path: '/plain',
    target: `${apiUrl}/plain`,
    methods: { GET: {}, DELETE: {} },
    token: 'none',
  };
  await start({ env: { API_ROUTES_FILE: routes(plainRoute) } });
  const requests = 'latchkey_http_requests_total';
  const plain = 'route="/api/plain"';
  for (const status of [200, 302, 404, 500]) {
    respond = (_req, res) => void res.writeHead(status).end();
    await fetch(`${world.origin}/api/plain`, { redirect: 'manual' });
    await untilHereMoved(requests, plain, statusOf(`${Math.floor(status / 100)}xx`));
  }
  await fetch(`${world.origin}/no-such-page`);
  await untilHereMoved(requests, 'route="other"', statusOf('4xx'));
  const before = await look(world.latchkey);
  const rejected = `${requests}{${plain},method="GET",status="4xx"}`;
  const client = new AbortController();
  respond = () => client.abort();
  await fetch(`${world.origin}/api/plain`, { signal: client.signal }).catch(() => undefined);
  await until(
    async () => (await look(world.latchkey)).get(rejected) === (before.get(rejected) ?? 0) + 1,
    'a request that its client aborts counts as 4xx',
  );
  for (const path of ['/healthz', '/readyz']) await fetch(world.origin + path);
  expect([...(await look(world.latchkey)).keys()].filter((each) => /healthz|readyz/.test(each))).toEqual([]);
  const browser = await signedIn();
  respond = (_req, res) => void res.end('done');
  await browser.step('/auth/console', {
    method: 'POST',
    from: world.origin,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ row: 'DELETE /plain' }).toString(),
  });
  await untilHereMoved(requests, plain, 'method="DELETE"', statusOf('2xx'));
});

test('requests to the front end count as one route', async () => {
  await start({ env: { APP_URL: apiUrl } });
  await fetch(`${world.origin}/some/page`);
  await untilHereMoved('latchkey_http_requests_total', 'route="front-end"', statusOf('2xx'));
});

test('each outcome of a login counts, each login once', async () => {
  await start();
  const count = async () =>
    [...(await look(world.latchkey))].reduce(
      (sum, [series, value]) => sum + (series.startsWith(logins) ? value : 0),
      0,
    );
  const expectOne = async (outcome: string, act: () => Promise<unknown>) => {
    const before = await count();
    await act();
    await untilHereMoved(logins, outcomeOf(outcome));
    expect({ outcome, counted: (await count()) - before }).toEqual({ outcome, counted: 1 });
  };
  await expectOne('success', () => signedIn());
  for (const answer of answerNames) {
    const { browser, callback } = await returned();
    world.providerFaults.set({ path: /token$/, response: answers[answer] });
    await expectOne(answer, () => browser.step(callback));
    world.providerFaults.set(undefined);
  }
  const { browser, callback } = await returned();
  await expectOne('incomplete_response', () => browser.step(callbackWith(callback, {})));
  await expectOne('authorization', () => browser.step(callbackWith(callback, { error: 'server_error' })));
  const second = await returned();
  const denial = callbackWith(second.callback, { error: 'access_denied' });
  await expectOne('denied', () => second.browser.step(denial));
  const third = await returned();
  await expectOne('state_of_other_browser', () => world.browser().step(third.callback));
  fault = 'put fails';
  await expectOne('store_unavailable', () => third.browser.step(third.callback));
  fault = undefined;
  await expectOne('state_used', () => third.browser.step(third.callback));
  const unlucky = await returned();
  fault = 'put fails unexpectedly';
  await expectOne('internal_error', () => unlucky.browser.step(unlucky.callback));
  fault = undefined;
  const fourth = await returned();
  await signOut(fourth.browser);
  await expectOne('signed_out', () => fourth.browser.step(fourth.callback));
  const late = await returned();
  await world.clock.advance(601);
  await expectOne('state_expired', () => late.browser.step(late.callback));
  expect(await counted(logins)).toEqual(auditedLogins());
});

test('a user whom LOGIN_ALLOWED does not allow counts, and a session that ends for that', async () => {
  await start({ env: { LOGIN_ALLOWED: 'sub equals bob' } });
  await signedIn('alice');
  await untilHereMoved(logins, outcomeOf('not_allowed'));
  const cookie = decodeURIComponent((await (await signedIn('bob')).sessionCookie()) ?? '');
  await world.latchkey.tokens.endBy(cookie.slice(2, cookie.lastIndexOf('.')), 'administrator'); // as after a refresh
  await untilHereMoved(sessionsEnded, reasonOf('ended_by_administrator'));
});

test('each outcome of a refresh counts, and a session whose refresh the provider rejects has ended', async () => {
  await start({ store: 'redis' });
  for (const answer of [...answerNames, 'not_sent', 'success'] as const) {
    const browser = await signedIn();
    if (answer === 'not_sent') fault = 'lease is lost';
    else if (answer !== 'success') world.providerFaults.set({ path: /token$/, response: answers[answer] });
    await world.clock.advance(101);
    await browser.fetch('/api/profile');
    world.providerFaults.set(undefined);
    fault = undefined;
    await untilHereMoved('latchkey_refreshes_total', outcomeOf(answer));
  }
  await untilHereMoved(sessionsEnded, reasonOf('refresh_rejected'));
});

test('a refresh that another request of the process, or another instance, has made counts as shared', async () => {
  await start({ store: 'redis' });
  const browser = await signedIn();
  const other = await world.startAnotherInstance();
  await look(other);
  const cookie = await browser.jar.getCookieString(world.origin);
  const get = (origin: string) => fetch(`${origin}/api/profile`, { headers: { cookie } });
  await world.clock.advance(101);
  const { opened: hold, open: release } = createLatch();
  world.providerFaults.set({ path: /token$/, hold });
  const isHeld = (count: number) => () => world.providerFaults.count(/token$/) === count;
  const before = world.providerFaults.count(/token$/);
  const responses = [get(world.origin), get(world.origin)];
  await untilHereMoved(sharedRefreshes, 'with="process"');
  await until(isHeld(before + 1), 'the provider has the request of the first instance');
  responses.push(get(other.origin));
  await until(() => refreshesBegun === 2, 'the other instance waits for the lease');
  world.providerFaults.set(undefined);
  release();
  await untilMoved(other, sharedRefreshes, 'with="instance"');
  expect((await Promise.all(responses)).map(({ status }) => status)).toEqual([200, 200, 200]);
});

test('each outcome of an app token counts, and the circuit breaker of the app provider', async () => {
  let answer: Answer | undefined;
  const provider = createServer((req, res) => {
    req.resume();
    const success = { status: 200, body: '{"access_token":"app","token_type":"bearer","expires_in":300}' };
    const { status, body } = answer ? answers[answer] : success;
    res.writeHead(status, json).end(body);
  });
  const scopes = Array.from({ length: 12 }, (_, index) => `app${index}`);
  await start({
    env: {
      OAUTH2_APP_SCOPES: 'app0',
      OAUTH2_APP_TOKEN_URL: `${await listen(provider)}/token`,
      OAUTH2_APP_CLIENT_ID: 'app',
      OAUTH2_APP_CLIENT_SECRET: 'a-secret-of-the-app-client-that-is-random-0123',
      API_ROUTES_FILE: routes(
        ...scopes.map((scope) => ({
          ...{ path: `/${scope}`, target: `${apiUrl}/app`, token: 'app' },
          methods: { GET: { allOf: [scope] } },
        })),
      ),
    },
  });
  const get = () => fetch(`${world.origin}/api/${scopes.shift()}`); // a failure defers requests for the same scopes
  for (const each of [undefined, ...answerNames]) {
    answer = each;
    await get();
    await untilHereMoved('latchkey_app_tokens_total', outcomeOf(each ?? 'success'));
  }
  fault = 'provider is unreachable';
  await Promise.all([get(), get(), get()]);
  await untilHereMoved(breakers, kindOf('app_provider'));
  fault = undefined;
  answer = undefined;
  await world.clock.advance(10);
  expect((await get()).status).toBe(200);
});

test('revocations count by outcome, those that wait are pending, and Retry-After for many opens the circuit breaker', async () => {
  await start({ store: 'redis' });
  for (const answer of answerNames.filter((each) => each !== 'invalid_response')) {
    const browser = await signedIn();
    world.providerFaults.set({ path: /revocation$/, response: answers[answer] });
    await signOut(browser);
    await untilHereMoved('latchkey_revocations_total', outcomeOf(answer));
    await untilHereMoved('latchkey_revocations_pending');
  }
  const browsers = await Promise.all(Array.from({ length: 10 }, () => signedIn()));
  const response = { status: 503, headers: { 'retry-after': '1' }, body: '' };
  world.providerFaults.set({ path: /revocation$/, response });
  await Promise.all(browsers.map(signOut));
  await untilHereMoved(breakers, kindOf('revocation'));
  world.providerFaults.set(undefined);
  await world.clock.advance(100);
  await untilHereMoved('latchkey_revocations_total', outcomeOf('success'));
});

test('sessions that end count by the reason that the audit log gives, and those that are live', async () => {
  await start({ backchannelLogout: 'sid', env: { SESSION_MAX_PER_USER: '2' } });
  const [one, other] = [await signedIn(), await signedIn()];
  await untilHereMoved('latchkey_sessions_live');
  await one.step('/auth/sessions/end-others', { method: 'POST', from: world.origin });
  await untilHereMoved(sessionsEnded, reasonOf('ended_by_user'));
  await world.signIn(one, 'alice', '/auth/login?return_to=/');
  await untilHereMoved(sessionsEnded, reasonOf('replaced'));
  await Promise.all([signedIn(), signedIn()]);
  await untilHereMoved(sessionsEnded, reasonOf('ended_by_limit'));
  await world.signIn(other, 'alice', '/auth/login?return_to=/');
  const page = await other.go(`${world.provider.issuer}/session/end`);
  const hidden = [...page.text.matchAll(/name="(\w+)" value="([^"]*)"/g)];
  const fields = Object.fromEntries(hidden.map(([, name, value]) => [name!, value!]));
  await other.submit(page, { ...fields, logout: 'yes' }, { action: '/session/end' });
  await untilHereMoved(sessionsEnded, reasonOf('ended_by_provider'));
  await signOut(await signedIn());
  await untilHereMoved(sessionsEnded, reasonOf('signed_out'));
  const incomplete = await returned();
  fault = 'session data cannot be saved';
  await incomplete.browser.step(incomplete.callback);
  await untilHereMoved(sessionsEnded, reasonOf('login_incomplete'));
  fault = undefined;
  await signedIn('bob');
  await world.clock.advance(604_800);
  await world.latchkey.deps.sessionIndex.sweep();
  await untilHereMoved(sessionsEnded, reasonOf('expired'));
  expect(await counted(sessionsEnded)).toEqual(audited('session_ended'));
  expect(await counted(logins)).toEqual(auditedLogins());
});

test('a session whose token expired and cannot be refreshed counts as expired, not as rejected', async () => {
  await start();
  fault = 'put loses the refresh token';
  const browser = await signedIn();
  await world.clock.advance(101);
  expect((await browser.fetch('/api/profile')).status).toBe(401);
  expect(await counted(sessionsEnded)).toEqual({ expired: 1 });
  expect(audited('session_ended')).toEqual({ expired: 1 });
});

test('calls to an API count by status, and an API that cannot be reached opens the circuit breaker of its host', async () => {
  const gone = createServer();
  const goneUrl = await listen(gone);
  await new Promise((done) => gone.close(done));
  await start({
    env: {
      API_ROUTES_FILE: routes(
        { path: '/plain', target: `${apiUrl}/plain`, token: 'none', timeoutSeconds: 1 },
        { path: '/gone', target: `${goneUrl}/x`, token: 'none' },
      ),
    },
  });
  const get = (signal?: AbortSignal) =>
    fetch(`${world.origin}/api/plain`, { redirect: 'manual', ...(signal && { signal }) }).catch(
      () => undefined,
    );
  for (const status of [200, 302, 404, 500]) {
    respond = (_req, res) => void res.writeHead(status).end();
    await get();
    await untilHereMoved(upstream, 'route="/api/plain"', statusOf(`${Math.floor(status / 100)}xx`));
  }
  const client = new AbortController();
  respond = () => client.abort();
  await get(client.signal);
  await untilHereMoved(upstream, statusOf('aborted'));
  respond = () => {};
  await get();
  await untilHereMoved(upstream, statusOf('timeout'));
  await until(async () => {
    await fetch(`${world.origin}/api/gone`);
    await look(world.latchkey);
    return hasMoved(breakers, kindOf('api_host'), `name="${goneUrl}"`);
  }, 'the circuit breaker of the host is open');
  expect(hasMoved(upstream, 'route="/api/gone"', statusOf('failed'))).toBe(true);
});

test('failures of ten addresses open the circuit breaker of the route', async () => {
  await start({
    env: { API_ROUTES_FILE: routes({ path: '/busy', target: `${apiUrl}/busy`, token: 'none' }) },
  });
  respond = (_req, res) => void res.writeHead(503, { 'retry-after': '1' }).end();
  const addresses = Array.from({ length: 10 }, (_, index) => `192.0.2.${index}`);
  await until(async () => {
    const get = (address: string) =>
      fetch(`${world.origin}/api/busy`, { headers: { 'x-forwarded-for': address } });
    await Promise.all(addresses.map(get));
    await look(world.latchkey);
    return hasMoved(breakers, kindOf('api_route'));
  }, 'the circuit breaker of the route is open');
});

test('a WebSocket handshake counts as a call to the API: accepted, rejected, timed out, failed and aborted', async () => {
  await start({
    env: {
      API_ROUTES_FILE: routes({
        ...{ path: '/socket', target: `${apiUrl}/socket`, token: 'none' },
        ...{ webSocket: true, timeoutSeconds: 1 },
      }),
    },
  });
  const open = () => {
    const url = `${world.origin.replace('http', 'ws')}/api/socket`;
    return new WebSocket(url, { origin: world.origin }).on('error', () => {}); // the metric is what matters
  };
  const untilCounted = (status: string) => untilHereMoved(upstream, 'route="/api/socket"', statusOf(status));
  const openStreams = async () => (await look(world.latchkey)).get('latchkey_open_streams');
  const client = open();
  await once(client, 'open');
  await until(async () => (await openStreams()) === 1, 'the WebSocket counts as an open stream');
  client.terminate();
  await until(async () => (await openStreams()) === 0, 'the WebSocket has closed');
  await untilCounted('1xx');
  upgrade = (_req, socket) => socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n');
  open();
  await untilCounted('4xx');
  upgrade = (_req, socket) => socket.destroy();
  open();
  await untilCounted('failed');
  upgrade = () => aborted.terminate();
  const aborted = open();
  await untilCounted('aborted');
  upgrade = () => {};
  open();
  await untilCounted('timeout');
});

test('three refreshes that cannot connect open the circuit breaker of the provider until one succeeds', async () => {
  await start();
  const users = await Promise.all(Array.from({ length: 3 }, () => signedIn()));
  fault = 'provider is unreachable';
  await world.clock.advance(101);
  await Promise.all(users.map((browser) => browser.fetch('/api/profile')));
  await untilHereMoved(breakers, kindOf('provider'));
  fault = undefined;
  await until(async () => {
    await world.clock.advance(10);
    await users[0]!.fetch('/api/profile');
    return (await look(world.latchkey)).get(`${breakers}{kind="provider",name=""}`) === 0;
  }, 'the circuit breaker is closed');
});

test('while the store is unavailable, logins count as failed because of it, the store as not ready, and its commands as failed', async () => {
  const { hostname, port, pathname } = new URL(testRedisUrl());
  const relay = await createRelay({ host: hostname, port: Number(port) });
  await relay.open();
  cleanUps.push(relay.close);
  await start({ store: 'redis', env: { REDIS_URL: `redis://127.0.0.1:${relay.port}${pathname}` } });
  const { browser, callback } = await returned();
  await relay.close();
  expect((await browser.step(callback)).status).toBe(503);
  await untilHereMoved(logins, outcomeOf('store_unavailable'));
  await untilHereMoved('latchkey_ready', 'part="store"');
  await untilHereMoved('latchkey_store_errors_total');
  await relay.open();
  const isReady = async () => (await look(world.latchkey)).get('latchkey_ready{part="store"}') === 1;
  await until(isReady, 'the store is ready again');
});

test('the provider is not ready while its metadata cannot be fetched', async () => {
  fault = 'provider is unreachable';
  await start();
  expect((await look(world.latchkey)).get('latchkey_ready{part="provider"}')).toBe(0);
  fault = undefined;
  await untilHereMoved('latchkey_ready', 'part="provider"'); // requested every five seconds
});

test('each limit of streams and of calls to an API counts what it rejects', async () => {
  const other = createServer(() => {});
  const otherUrl = await listen(other);
  await start({
    env: {
      MAX_STREAMS_PER_SESSION: '1',
      MAX_STREAMS_PER_USER: '2',
      MAX_STREAMS_PER_ADDRESS: '3',
      MAX_STREAMS: '4',
      MAX_UPSTREAM_CONNECTIONS_PER_USER: '2',
      MAX_UPSTREAM_CONNECTIONS_PER_ADDRESS: '3',
      MAX_UPSTREAM_CONNECTIONS: '6',
      API_ROUTES_FILE: routes(
        { path: '/events', target: `${apiUrl}/events`, stream: true },
        { path: '/anyone', target: `${apiUrl}/events`, stream: true, token: 'none' },
        { path: '/held', target: `${otherUrl}/held` },
        { path: '/open', target: `${otherUrl}/open`, token: 'none' },
      ),
    },
  });
  respond = (_req, res) => res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
  const clients = new AbortController();
  cleanUps.push(() => clients.abort());
  const cookieOf = async (user: string) => (await signedIn(user)).jar.getCookieString(world.origin);
  const [alice1, alice2, alice3] = [
    await cookieOf('alice'),
    await cookieOf('alice'),
    await cookieOf('alice'),
  ];
  const [bob1, bob2] = [await cookieOf('bob'), await cookieOf('bob')];
  const [here, there, elsewhere] = ['192.0.2.1', '192.0.2.2', '192.0.2.3'] as const;
  const get = (path: string, address: string, cookie = '') =>
    fetch(`${world.origin}/api${path}`, {
      signal: clients.signal,
      headers: { cookie, 'x-forwarded-for': address },
    });
  const expectRejection = async (limit: string, ...request: Parameters<typeof get>) => {
    expect((await get(...request)).status).toBe(429);
    await untilHereMoved(rejections, limitOf(limit));
  };
  const expectStream = async (...request: Parameters<typeof get>) =>
    expect((await get(...request)).status).toBe(200);

  await expectStream('/events', here, alice1);
  await expectRejection('MAX_STREAMS_PER_SESSION', '/events', here, alice1);
  await expectStream('/events', here, alice2);
  await expectRejection('MAX_STREAMS_PER_USER', '/events', there, alice3);
  await expectStream('/events', here, bob1);
  await expectRejection('MAX_STREAMS_PER_ADDRESS', '/events', here, bob2);
  await expectStream('/events', there, bob2);
  await expectRejection('MAX_STREAMS', '/anyone', elsewhere);
  expect((await look(world.latchkey)).get('latchkey_open_streams')).toBe(4);

  const hold = (count: number, ...request: Parameters<typeof get>) => {
    for (let call = 0; call < count; call += 1) void get(...request).catch(() => undefined);
  };
  hold(3, '/held', here, alice1);
  await untilHereMoved(rejections, limitOf('MAX_UPSTREAM_CONNECTIONS_PER_USER'));
  hold(4, '/open', here);
  await untilHereMoved(rejections, limitOf('MAX_UPSTREAM_CONNECTIONS_PER_ADDRESS'));
  hold(2, '/open', there);
  await untilHereMoved(rejections, limitOf('MAX_UPSTREAM_CONNECTIONS'));
});

test('each limit of connections counts the connections that it rejects', async () => {
  await start({ env: { MAX_CONNECTIONS_PER_ADDRESS: '2', MAX_CONNECTIONS: '3', TRUST_PROXY: undefined } });
  const port = Number(new URL(world.origin).port);
  for (const localAddress of ['127.0.0.1', '127.0.0.1', '127.0.0.1', '127.0.0.2', '127.0.0.2']) {
    const client = connect({ host: '127.0.0.1', port, localAddress }).on('error', () => {});
    cleanUps.push(() => client.destroy());
    await once(client, 'connect');
  }
  await untilHereMoved(rejections, limitOf('MAX_CONNECTIONS_PER_ADDRESS'));
  await untilHereMoved(rejections, limitOf('MAX_CONNECTIONS'));
});

test('each rate limit, and that of bodies in memory, counts what it rejects', async () => {
  const rateLimit = { limit: 1, windowSeconds: 60 };
  await start({
    env: {
      AUTH_RATE_LIMIT: '101',
      OAUTH2_SCOPES: 'openid profile read:data write:data',
      API_ROUTES_FILE: routes(
        { path: '/data', target: '/api/user/data', methods: { POST: {} } },
        { path: '/rare', target: `${apiUrl}/x`, token: 'none', rateLimit },
      ),
    },
  });
  const browser = await signedIn();
  const repeat = async (count: number, act: () => Promise<unknown>) => {
    for (let done = 0; done < count; done += 20)
      await Promise.all(Array.from({ length: Math.min(20, count - done) }, act));
  };
  const send = (path: string, address: string, options: RequestInit = {}) =>
    fetch(world.origin + path, { ...options, headers: { 'x-forwarded-for': address, ...options.headers } });
  const fromPage = { origin: world.origin, 'sec-fetch-site': 'same-origin' };
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  const page = { method: 'POST', redirect: 'manual', headers: fromPage } as const;
  await repeat(2, () => send('/api/rare', '192.0.2.1'));
  await repeat(103, () => send('/auth/callback?state=x', '192.0.2.2'));
  await repeat(102, () => send('/auth/logout', '192.0.2.3', page));
  await repeat(121, () => send(`/auth/resume/${'A'.repeat(43)}`, '192.0.2.4'));
  const cookie = await browser.jar.getCookieString(world.origin);
  const headers = { ...fromPage, ...form, 'content-length': '100', cookie };
  const bodies = Array.from({ length: 6 }, () =>
    http
      .request(`${world.origin}/auth/console`, { method: 'POST', agent: false, headers })
      .on('error', () => {}),
  );
  for (const each of bodies) each.flushHeaders();
  await untilHereMoved(rejections, limitOf('bodies in memory'));
  for (const each of bodies) each.destroy();
  await world.clock.advance(604_800); // the session expires
  const options = { method: 'POST', from: world.origin, headers: form, body: 'a=1' };
  await repeat(121, () => browser.step('/api/data', options));
  for (const name of ['GET /rare', 'auth', 'rejected-callbacks', 'sign-out', 'saved-forms', 'save-form'])
    await untilHereMoved(rejections, limitOf(`rate ${name}`));
});

test('the versions of the process are always 1', async () => {
  await start();
  addProcessMetrics(world.latchkey.deps.metrics, process.version);
  const values = [...(await look(world.latchkey))].filter(
    ([series]) => metricOf(series) === 'latchkey_build_info',
  );
  expect(values).toEqual([[expect.stringContaining(`node="${process.version}"`), 1]]);
});

// The last two, because they compare the documentation with what all the other tests have seen.
test('every metric and every value of a label in docs/metrics.md has moved, and the limits of docs/limits.md', () => {
  expect(documentedMetrics.length).toBeGreaterThan(20);
  expect(documentedValues.length).toBeGreaterThan(70);
  // Of the process, not of the app: see the test above, and flow/stalled-collector.
  const ofProcess = ['latchkey_build_info', 'latchkey_log_lines_dropped_total'];
  const metrics = documentedMetrics.filter((each) => !ofProcess.includes(each) && !hasMoved(each));
  const values = documentedValues.filter(
    ({ metric, value }) => !ofProcess.includes(metric) && !hasMoved(metric, `="${value}"`),
  );
  const operations = documentedOperations.filter(
    ([operation, outcome]) =>
      !hasMoved('latchkey_provider_request_duration_seconds', `operation="${operation}"`, outcomeOf(outcome)),
  );
  expect({ metrics, values, operations }).toEqual({ metrics: [], values: [], operations: [] });
});

test('docs/metrics.md has every outcome, reason, kind and limit that a metric of Latchkey can have', () => {
  const undocumented = [...seen]
    .filter((series) => series.startsWith('latchkey_'))
    .flatMap((series) =>
      [...series.matchAll(/(\w+)="([^"]*)"/g)].map(
        ([, name, value]) => [metricOf(series), name!, value!] as const,
      ),
    )
    .filter((each) => !isDocumented(...each));
  expect(undocumented).toEqual([]);
});
