import { readFileSync } from 'node:fs';
import type { Redis } from 'ioredis';
import { defaultRouteTable } from '../../src/config/presets.ts';
import { type Recorder, startRecorder } from '../hostile/support/recorder.ts';
import type { Page } from '../support/browser.ts';
import {
  startCluster,
  startSentinel,
  startServer,
  startSingle,
  type Topology,
  waitFor,
} from '../support/redis-topologies.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { createWorld, finishSignIn, type World } from '../support/world.ts';

const page = readFileSync(new URL('../../docs/redis.md', import.meta.url), 'utf8');
/** The words of the documented command after `ACL SETUSER latchkey`. */
const rules = /ACL SETUSER latchkey ([^`]*)/.exec(page)![1]!.trim().split(/\s+/);
const granted = (text: string) => [...text.matchAll(/\+([a-z][a-z|]*)/g)].map(([, command]) => command!);
const clusterRules = /In a cluster, add `([^`]*)`/.exec(page)![1]!.split(' ');
const prefix = 'app-one:';

let topology: Topology;
let world: World;
let api: Recorder;
beforeAll(async () => {
  api = await startRecorder();
});
afterAll(() => api.close());
afterEach(async () => {
  await world.close();
  await topology.close();
});

/** Two instances of which Redis knows only the user with the documented rules, under another prefix. */
async function start(started: Topology, extraRules: readonly string[] = [], env = {}): Promise<void> {
  topology = started;
  const app = {
    path: '/app',
    target: `${api.url}/things`,
    methods: { GET: {} },
    token: 'app',
    rateLimit: { limit: 50, windowSeconds: 60 },
  };
  const all = [...rules, ...extraRules].map((each) => each.replace('latchkey:', prefix));
  for (const admin of topology.admins) {
    await admin.call('ACL', 'SETUSER', 'latchkey', ...all);
    await admin.call('ACL', 'LOG', 'RESET');
    await admin.config('RESETSTAT');
  }
  world = await createWorld({
    env: {
      REDIS_URL: topology.url.replace('://', '://latchkey:password@'),
      REDIS_PREFIX: prefix,
      API_ROUTES_FILE: writeRoutesFile([...defaultRouteTable.routes, app]),
      AUTH_RATE_LIMIT: '500',
      OAUTH2_SCOPES: 'openid profile read:profile read:data write:data',
      ...env,
    },
  });
}

const loginLink = ({ text }: Page) =>
  /href="([^"]*\/auth\/login[^"]*)"/.exec(text)![1]!.replaceAll('&#38;', '&').replaceAll('&amp;', '&');

/** Sign-in, calls, refresh, app token, rate limits, step back of a login, saved form, revocation, sign-out, lists of sessions. */
async function useEveryFeature(): Promise<void> {
  const browser = world.browser();
  await world.signIn(browser);
  expect((await browser.fetch('/api/profile')).status).toBe(200);
  expect((await browser.fetch('/api/app')).status).toBe(200);
  const profile = await browser.go('/profile');
  await browser.submit(profile, {}, { action: '/auth/refresh' });
  await world.clock.advance(400); // the access token has expired
  expect((await browser.fetch('/api/profile')).status).toBe(200);
  // On a busy machine, a command may take too long once; that request is then not limited.
  const isLimited = async () =>
    /^"auth"/.test(String((await browser.fetch('/auth/session')).headers.ratelimit));
  await waitFor(isLimited);
  await browser.step('/auth/logout', { method: 'POST', from: world.origin });
  await waitFor(async () => (await keys('*:revocations:*')).length === 1);

  const other = world.browser();
  await world.signIn(other);
  await world.clock.advance(604_800);
  const rejected = await other.step('/api/data', {
    method: 'POST',
    from: `${world.origin}/`,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: 'title=red',
  });
  expect(rejected.text).toContain('saved your form');
  const saved = await finishSignIn(other, await other.go(loginLink(rejected)));
  await other.submit(saved, {}, { action: '/auth/resume/' });
  await listSessions();
  await world.latchkey.drain();
}

async function listSessions(): Promise<void> {
  const { tokens, deps } = world.latchkey;
  expect(await tokens.sessionsOf('alice')).not.toEqual([]);
  let count = 0;
  for await (const _each of tokens.allSessions()) count += 1;
  expect(count).toBeGreaterThan(0);
  expect(await deps.sessionIndex.count()).toBeGreaterThan(0);
  await world.clock.advance(3_600); // entries are due
  await deps.sessionIndex.sweep();
  expect(await tokens.endAllOf({ sub: 'alice' }, 'administrator')).toBeGreaterThan(0);
}

const keys = async (pattern: string) =>
  (await Promise.all(topology.admins.map((admin) => admin.keys(pattern)))).flat();
const aclLog = async () =>
  (await Promise.all(topology.admins.map((admin) => admin.call('ACL', 'LOG')))).flat();
async function usedCommands(admin: Redis): Promise<string[]> {
  const stats = await admin.info('commandstats');
  return [...stats.matchAll(/^cmdstat_([a-z|]+):calls=[1-9]/gm)].map(([, name]) => name!);
}

test('the documented ACL user suffices for every feature, with no key or channel outside REDIS_PREFIX', async () => {
  await start(await startSingle());
  await useEveryFeature();
  expect(await aclLog()).toEqual([]);
  const stored = await keys('*');
  expect(stored.length).toBeGreaterThan(3);
  expect(stored.filter((key) => !key.startsWith(prefix))).toEqual([]);
  expect(await topology.admin.call('PUBSUB', 'CHANNELS')).toEqual([
    expect.stringMatching(/^app-one:session-ends:/),
  ]);
});

test('the documented ACL user has no right that is never used', async () => {
  await start(await startSingle(), [], {});
  await useEveryFeature();
  const used = await usedCommands(topology.admin);
  const unused = granted(rules.join(' ')).filter((each) => !used.includes(each));
  // Only after silence; for another database than 0; for what another instance left behind.
  const seldom = ['ping', 'select', 'xclaim', 'xpending'];
  expect(unused.filter((each) => !seldom.includes(each))).toEqual([]);
});

test('the documented ACL user suffices with Sentinel and REDIS_WAIT_REPLICAS', async () => {
  const started = await startSentinel();
  const replica = await startServer({ args: ['--replicaof', '127.0.0.1', started.admin.options.port ?? 0] });
  await waitFor(async () => (await started.admin.info('replication')).includes('state=online'));
  await start(started, ['+wait'], { REDIS_WAIT_REPLICAS: '1' });
  await useEveryFeature();
  expect(await aclLog()).toEqual([]);
  replica.close();
});

test('the documented ACL user suffices in a cluster', async () => {
  await start(await startCluster(), [...clusterRules, '-select']);
  await useEveryFeature();
  expect(await aclLog()).toEqual([]);
});

test('without the right to channels, everything else works, and Latchkey does not reconnect all the time', async () => {
  await start(await startSingle(), ['resetchannels']);
  await useEveryFeature();
  await useEveryFeature();
  const lines = world.latchkey.logLines.map((line) => JSON.parse(line));
  const about = (text: string) => lines.filter(({ msg }) => msg?.startsWith(text));
  expect(about('session-end subscription failed')).toHaveLength(1);
  expect(about('failed to notify other instances')).toHaveLength(1);
  expect(about('session-end subscription failed')[0].error).toMatch(/^NOPERM/);
  expect(topology.relay.connections).toBeLessThan(12);
});
