import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { type ApiWorld, createApiWorld } from '../hostile/support/api-world.ts';
import { waitUntil } from '../hostile/support/raw-http.ts';
import { buildApp } from '../support/build.ts';
import { sessionSecret } from '../support/latchkey.ts';
import { testRedisUrl } from '../support/test-redis.ts';
import { createWorld, type World } from '../support/world.ts';

import.meta.jest.setTimeout(120_000); // many processes on a busy machine

let buildDir: string;
beforeAll(() => {
  buildDir = buildApp();
}, 60_000);
afterAll(() => rmSync(buildDir, { recursive: true, force: true }));

interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(args: string, env: Readonly<Record<string, string>>): Promise<Result> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [join(buildDir, 'dist/cli.js'), ...args.split(' ')],
      { cwd: buildDir, env: { PATH: process.env.PATH ?? '', ...env } },
      (_error, stdout, stderr) => resolve({ status: child.exitCode!, stdout, stderr }),
    );
    child.stdin?.end();
  });
}

const envOf = ({ provider, client, origin, api }: World): Record<string, string> => ({
  OAUTH2_ISSUER: provider.issuer,
  OAUTH2_CLIENT_ID: client.clientId,
  OAUTH2_CLIENT_SECRET: client.clientSecret,
  OAUTH2_REDIRECT_URI: `${origin}/auth/callback`,
  OAUTH2_API_BASE_URL: api.url,
  SESSION_SECRET: sessionSecret,
  REDIS_URL: testRedisUrl(),
});

interface Listed {
  readonly session: string;
  readonly subject: string;
}

describe('latchkey sessions', () => {
  let world: World;
  let env: Record<string, string>;
  beforeEach(async () => {
    world = await createWorld({ env: { OAUTH2_SCOPES: 'openid profile email offline_access' } });
    env = envOf(world);
  });
  afterEach(() => world.close());
  const signIn = async (user: string) => {
    const browser = world.browser();
    await world.signIn(browser, user);
    return browser;
  };
  const listed = async (selection: string): Promise<Listed[]> =>
    JSON.parse((await run(`sessions list ${selection} --json`, env)).stdout);
  const isSignedIn = async (browser: ReturnType<World['browser']>) =>
    ((await browser.fetch('/auth/session')).json() as { authenticated: boolean }).authenticated;

  test('list and show print sessions by user, by name and all, and never an id, a token or a secret', async () => {
    const alice = [await signIn('alice'), await signIn('alice')];
    const bob = await signIn('bob');
    expect(await listed('--subject alice')).toHaveLength(2);
    const [session] = await listed('--subject bob');
    expect(session).toMatchObject({ subject: 'bob', session: expect.stringMatching(/^[\w-]{16}$/) });
    expect(await listed(`--session=${session!.session}`)).toEqual([session]);
    expect((await listed('--all')).length).toBeGreaterThanOrEqual(3); // other tests share the database
    expect(await listed('--subject nobody')).toEqual([]);

    const results = [];
    for (const args of [
      'list --all',
      'list --all --json',
      'show --subject alice',
      'show --subject alice --json',
    ])
      results.push(await run(`sessions ${args}`, env));
    expect(results.map(({ status, stderr }) => [status, stderr])).toEqual(Array(4).fill([0, '']));
    const output = results.map(({ stdout }) => stdout).join('');
    expect(output).toMatch(/email: +alice@/);
    const cookies = await Promise.all([...alice, bob].map((each) => each.sessionCookie()));
    const ids = cookies.map((each) => /s(?::|%3A)([\w-]+)\./.exec(each!)![1]!);
    const secrets = [
      ...ids,
      ...world.issued.access,
      ...world.issued.refresh,
      world.client.clientSecret,
      sessionSecret,
    ];
    for (const each of secrets) expect(output).not.toContain(each);
    expect((await bob.fetch('/auth/sessions')).json()).toMatchObject({
      sessions: [{ id: session!.session }],
    });
  });

  test('end signs out one session, or all of a user, and revokes their tokens', async () => {
    const [one, other, bob] = [await signIn('alice'), await signIn('alice'), await signIn('bob')];
    const [newest] = await listed('--subject alice');
    const result = await run(`sessions end --session=${newest!.session} --yes`, env);
    expect([result.status, result.stdout]).toEqual([0, '1 session ended.\n']);
    const audited = result.stderr.split('\n').filter((line) => line.includes('"session_ended"'));
    expect(audited.map((line) => JSON.parse(line))).toEqual([
      expect.objectContaining({
        reason: 'ended_by_administrator',
        subject: 'alice',
        session: newest!.session,
      }),
    ]);
    expect([await isSignedIn(one), await isSignedIn(other)].filter(Boolean)).toHaveLength(1);
    expect((await run(`sessions end --session=${newest!.session} --yes`, env)).status).toBe(3);

    const json = { ...env, AUDIT_LOG: 'stdout' };
    const { status, stdout } = await run('sessions end --subject alice --yes --json', json);
    expect([status, JSON.parse(stdout)]).toEqual([0, { ended: 1, failed: 0 }]);
    expect([await isSignedIn(one), await isSignedIn(other), await isSignedIn(bob)]).toEqual([
      false,
      false,
      true,
    ]);
    expect((await one.go('/auth/sign-in')).text).toContain('signed you out');
    const active = await Promise.all(world.issued.refresh.map((each) => world.isActive(each)));
    expect(active).toEqual([false, false, true]);
    expect((await run('sessions end --subject alice --yes', env)).status).toBe(3);
  });

  test('sessions that were stored with another secret are counted, and do not hide the others', async () => {
    await signIn('alice');
    const other = await world.startAnotherInstance(0, {
      SESSION_SECRET: 'another-secret-that-is-long-enough-0123',
    });
    await other.deps.tokenStore.put('a-session-of-another-secret', {
      ...{ user: { sub: 'carol' }, signedInAt: Date.now() },
      tokens: { accessToken: 'a', tokenType: 'bearer', scope: [], issuedAt: Date.now() },
    });
    const { status, stdout, stderr } = await run('sessions list --all --json', env);
    expect(JSON.parse(stdout).map(({ subject }: Listed) => subject)).toContain('alice');
    expect([status, stderr]).toEqual([
      1,
      expect.stringContaining('could not be read: cannot read a token record'),
    ]);
    await other.deps.tokenStore.take('a-session-of-another-secret', { kind: 'signed_out' });
  });

  test('end asks for confirmation, which only a terminal can give', async () => {
    const alice = await signIn('alice');
    const { status, stdout, stderr } = await run('sessions end --subject alice', env);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toContain('needs --yes');
    expect(await isSignedIn(alice)).toBe(true);
  });

  test('the session ends while the provider is unavailable, and its tokens are revoked later', async () => {
    const alice = await signIn('alice');
    world.providerFaults.set({ response: { status: 503 } });
    expect((await run('sessions end --subject alice --yes', env)).status).toBe(0);
    expect(await isSignedIn(alice)).toBe(false);
    expect(await world.latchkey.deps.revocationOutbox(async () => true).pending()).toBeGreaterThan(0);
    world.providerFaults.set(undefined);
  });
});

test('invalid arguments, an invalid configuration and an unavailable Redis have their own exit status and a short message', async () => {
  const valid = {
    OAUTH2_ISSUER: 'http://localhost:1',
    OAUTH2_CLIENT_ID: 'x',
    OAUTH2_CLIENT_SECRET: 'a-client-secret',
    OAUTH2_REDIRECT_URI: 'http://localhost:3000/auth/callback',
    OAUTH2_API_BASE_URL: 'http://localhost:2',
    SESSION_SECRET: sessionSecret,
  };
  const cases = [
    ['sessions end', {}, 2, 'say which sessions'],
    ['sessions list --all', {}, 78, 'OAUTH2_ISSUER is missing'],
    ['sessions list --all', valid, 78, 'REDIS_URL is not set'],
    [
      'sessions list --all',
      { ...valid, REDIS_URL: 'redis://127.0.0.1:1' },
      1,
      'session store is unavailable',
    ],
    [
      'sessions end --all --yes',
      { ...valid, REDIS_URL: 'redis://127.0.0.1:1' },
      1,
      'session store is unavailable',
    ],
  ] as const;
  for (const [args, env, status, message] of cases) {
    const result = await run(args, env);
    expect([args, result.status, result.stdout]).toEqual([args, status, '']);
    expect(result.stderr).toContain(message);
    expect(result.stderr).not.toMatch(/^\s+at /m);
  }
  const unreachable = await run('sessions list --all', { ...valid, REDIS_URL: 'redis://127.0.0.1:1' });
  expect(unreachable.stderr).toContain('ECONNREFUSED');
  expect((await run('--help', {})).stdout).toMatch(/^Usage: latchkey sessions/);
  expect((await run('--version', {})).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

describe('a session that is streaming', () => {
  let api: ApiWorld;
  beforeAll(async () => {
    api = await createApiWorld([{ path: '/events', target: '/events', methods: { GET: {} }, stream: true }]);
  });
  afterAll(() => api.close());

  test('on another instance is closed by the command, and its tab can say why', async () => {
    api.recorder.respondWith((_req, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write('data: 1\n\n');
    });
    const other = await api.world.startAnotherInstance();
    const request = http.get(`${other.origin}/api/events`, { headers: { cookie: api.cookie }, agent: false });
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    let text = '';
    response.on('data', (chunk) => {
      text += chunk;
    });
    await waitUntil(() => text.includes('data: 1'));
    const env = envOf(api.world);
    const { status } = await run('sessions end --all --yes', env);
    expect(status).toBe(0);
    await waitUntil(() => text.includes('event: session_ended'));
    expect(response.complete).toBe(true);
    const page = await fetch(`${api.world.origin}/auth/sign-in`, {
      headers: { cookie: api.cookie, accept: 'text/html', 'sec-fetch-mode': 'navigate' },
    });
    expect(await page.text()).toContain('signed you out');
  });
});
