import { once } from 'node:events';
import http, { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocket, WebSocketServer } from 'ws';
import type { ProviderLogouts } from '../../src/tokens/provider-logouts.ts';
import type { TokenStore } from '../../src/tokens/token-store.ts';
import { readRecord, readSession } from '../hostile/support/logged-in.ts';
import { Browser, cookieNames } from '../support/browser.ts';
import { failAtStep } from '../support/fail-at-step.ts';
import { createLatch } from '../support/latch.ts';
import type { Latchkey } from '../support/latchkey.ts';
import { createRelay } from '../support/relay.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { testRedisUrl } from '../support/test-redis.ts';
import { createWorld, type World, type WorldOptions } from '../support/world.ts';

const scopes = 'openid profile read:profile read:data';

let world: World;
afterEach(() => world.close());

async function start(kind: 'sid' | 'sub', options: WorldOptions = {}): Promise<void> {
  world = await createWorld({
    backchannelLogout: kind,
    ...options,
    env: { OAUTH2_SCOPES: scopes, ...options.env },
  });
}

async function signIn(user = 'alice'): Promise<Browser> {
  const browser = world.browser();
  await world.signIn(browser, user);
  return browser;
}

const session = async (browser: Browser) => (await browser.fetch('/auth/session')).json();
const isSignedIn = async (browser: Browser) =>
  ((await session(browser)) as { authenticated: boolean }).authenticated;
const received = () =>
  world.latchkey.logLines.filter((line) => line.includes('the provider has ended sessions'));

/** Removes the cookie of Latchkey's session, as if the user had not signed in yet. */
const forgetSession = (browser: Browser) =>
  browser.jar.setCookie(`${cookieNames(world.origin).session}=; Max-Age=0`, world.origin);

/** Signs out on the provider's own page, which Latchkey does not see; the provider then sends the logout token. */
async function signOutAtProvider(browser: Browser): Promise<void> {
  const page = await browser.go(`${world.provider.issuer}/session/end`);
  await browser.submit(page, { logout: 'yes', ...hiddenFields(page.text) }, { action: '/session/end' });
}

function hiddenFields(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/name="(\w+)" value="([^"]*)"/g)]
      .filter(([, name]) => name !== 'logout')
      .map(([, name, value]) => [name!, value!]),
  );
}

async function waitFor(condition: () => Promise<boolean> | boolean, maxMs = 2_000): Promise<void> {
  for (const deadline = Date.now() + maxMs; !(await condition()); await delay(10))
    if (Date.now() > deadline) throw new Error(`not within ${maxMs} ms: ${condition}`);
}

/** An API with an event stream and a WebSocket. */
async function startStreamingApi(): Promise<{ readonly url: string; readonly server: Server }> {
  const server = createServer((_req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write('data: hello\n\n');
  });
  const sockets = new WebSocketServer({ noServer: true });
  server.on('upgrade', (req, socket, head) =>
    sockets.handleUpgrade(req, socket, head, (each) => each.on('error', () => undefined)),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

/** Settles when the streams of the browser's session are open; `closed` settles when both have been closed. */
async function openStreams(browser: Browser, { origin }: Latchkey): Promise<{ closed: Promise<unknown> }> {
  const cookie = `${cookieNames(world.origin).session}=${await browser.sessionCookie()}`;
  const request = http.get(`${origin}/api/stream`, { headers: { cookie }, agent: false });
  const [response] = await once(request, 'response');
  response.on('error', () => undefined).resume();
  const socket = new WebSocket(`${origin.replace('http', 'ws')}/api/socket`, {
    headers: { cookie, origin: world.origin },
  });
  await once(socket, 'open');
  // Not `once`, which rejects when the stream is cut off.
  const ends = [response, socket].map((each) => new Promise((resolve) => each.on('close', resolve)));
  expect(response.statusCode).toBe(200);
  return { closed: Promise.all(ends) };
}

describe.each(['sid', 'sub'] as const)(
  'a sign-out at the provider, whose logout tokens have a %s,',
  (kind) => {
    test('ends the session on every instance within a second, closes its streams, and its tabs can say so', async () => {
      const api = await startStreamingApi();
      const route = { methods: { GET: {} }, stream: true };
      const routesFile = writeRoutesFile([
        { path: '/stream', target: `${api.url}/stream`, ...route },
        { path: '/socket', target: `${api.url}/socket`, methods: { GET: {} }, webSocket: true },
      ]);
      await start(kind, { env: { API_ROUTES_FILE: routesFile } });
      const other = await world.startAnotherInstance();
      const [alice, bob] = [await signIn(), await signIn('bob')];
      const streams = [await openStreams(alice, world.latchkey), await openStreams(alice, other)];
      const bobsStreams = await openStreams(bob, other);
      let areBobsClosed = false;
      void bobsStreams.closed.then(() => {
        areBobsClosed = true;
      });
      const began = Date.now();
      await Promise.all([signOutAtProvider(alice), ...streams.map(({ closed }) => closed)]);
      expect(Date.now() - began).toBeLessThan(1_000);
      expect(received()).toHaveLength(1);
      expect(await session(alice)).toMatchObject({ authenticated: false });
      expect((await alice.fetch('/api/stream')).status).toBe(401);
      expect([await isSignedIn(bob), areBobsClosed]).toEqual([true, false]);
      for (const token of [world.issued.access[0]!, world.issued.refresh[0]!])
        await waitFor(async () => !(await world.isActive(token)));
      api.server.closeAllConnections();
      api.server.close();
    });

    test(`ends ${kind === 'sid' ? 'only the session of that device' : 'the sessions of all devices of the user'}`, async () => {
      await start(kind);
      const [laptop, phone] = [await signIn(), await signIn()];
      await signOutAtProvider(laptop);
      await waitFor(() => received().length === 1);
      expect([await isSignedIn(laptop), await isSignedIn(phone)]).toEqual([false, kind === 'sid']);
      for (const device of [laptop, phone]) await world.signIn(device);
      expect([await isSignedIn(laptop), await isSignedIn(phone)]).toEqual([true, true]);
    });

    test.each(['the token response', 'the write of the session'])(
      'ends a login that is waiting for %s at that moment, and revokes its tokens',
      async (moment) => {
        const [reached, resumed] = [createLatch(), createLatch()];
        let isHeld = false;
        const hold = async () => {
          reached.open();
          await resumed.opened;
        };
        await start(kind, {
          wrap: ({ tokenStore }) => ({
            tokenStore: {
              ...tokenStore,
              put: async (...args: Parameters<TokenStore['put']>) => {
                if (isHeld && moment === 'the write of the session') await hold();
                return tokenStore.put(...args);
              },
            },
          }),
        });
        world.provider.provider.use(async (ctx, next) => {
          await next();
          if (isHeld && moment === 'the token response' && ctx.path === '/token') await hold();
        });
        const browser = await signIn(); // the provider knows the user from now on
        await forgetSession(browser); // otherwise the new session would end with the one that it replaces
        isHeld = true;
        const login = browser.go('/auth/login?return_to=/profile');
        await reached.opened;
        await signOutAtProvider(browser);
        await waitFor(() => received().length === 1);
        resumed.open();
        expect((await login).url).toBe(`${world.origin}/auth/signed-out`);
        expect(await isSignedIn(browser)).toBe(false);
        await world.latchkey.drain();
        expect(await world.isActive(world.issued.access.at(-1)!)).toBe(false);
        isHeld = false;
        await world.signIn(browser);
        expect(await isSignedIn(browser)).toBe(true);
      },
    );

    test('ends a session whose tokens are being refreshed, and revokes the new tokens', async () => {
      await start(kind);
      const browser = await signIn();
      const [reached, resumed] = [createLatch(), createLatch()];
      world.provider.provider.use(async (ctx, next) => {
        await next();
        if (ctx.path !== '/token') return;
        reached.open();
        await resumed.opened;
      });
      const refresh = browser.fetch('/auth/refresh', {
        method: 'POST',
        headers: { accept: 'application/json' },
      });
      await reached.opened;
      const signOut = signOutAtProvider(browser);
      resumed.open();
      await signOut;
      await waitFor(() => received().length === 1);
      await refresh;
      expect(await isSignedIn(browser)).toBe(false);
      await world.latchkey.drain();
      for (const token of [...world.issued.access, ...world.issued.refresh])
        expect(await world.isActive(token)).toBe(false);
    });
  },
);

describe('while the store is unavailable', () => {
  type Fault = { name: string | undefined };
  const [storeFault, logoutFault]: [Fault, Fault] = [{ name: undefined }, { name: undefined }];
  let tokens: string[];
  const startWithFaults = async (kind: 'sid' | 'sub') => {
    tokens = [];
    await start(kind, {
      wrap: (deps) => ({
        tokenStore: failAtStep<TokenStore>(deps.tokenStore, storeFault),
        providerLogouts: failAtStep<ProviderLogouts>(deps.providerLogouts, logoutFault),
      }),
    });
  };
  beforeEach(() => startWithFaults('sub'));
  afterEach(() => {
    storeFault.name = logoutFault.name = undefined;
  });

  /** A logout token of alice, which the provider has not sent. */
  async function createToken(sid = 'unused'): Promise<string> {
    const client = await world.provider.provider.Client.find(world.client.clientId);
    const sent = createLatch();
    const server = createServer((req, res) => {
      let text = '';
      req.on('data', (chunk) => {
        text += chunk;
      });
      req.on('end', () => {
        tokens.push(new URLSearchParams(text).get('logout_token')!);
        res.end();
        sent.open();
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const copy = Object.assign(Object.create(client!), { backchannelLogoutUri: uri });
    await copy.backchannelLogout('alice', sid);
    await sent.opened;
    server.close();
    return tokens.at(-1)!;
  }

  const sidOf = async (browser: Browser) =>
    (await readRecord(world, (await readSession(browser)).id))?.identity?.sid;

  const send = (logout_token: string, origin = world.origin) =>
    fetch(`${origin}/auth/backchannel-logout`, {
      method: 'POST',
      body: new URLSearchParams({ logout_token }),
    });

  test.each([
    ['the record of what was done', logoutFault, 'progressOf'],
    ['the logins in progress', logoutFault, 'endLogins'],
    ['the session', storeFault, 'take'],
    ['the note that it was done', logoutFault, 'remember'],
  ] as const)(
    'a logout gets 503 when %s cannot be reached, takes effect when it can, and gets 200 when it is repeated',
    async (_what, fault, step) => {
      const browser = await signIn();
      const token = await createToken();
      fault.name = step;
      const response = await send(token);
      expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1']);
      expect((await send(token)).status).toBe(503);
      fault.name = undefined;
      await waitFor(async () => !(await isSignedIn(browser)), 5_000);
      await waitFor(() => world.latchkey.logLines.some((line) => line.includes('have been applied')), 5_000);
      expect((await send(token)).status).toBe(200);
      expect((await send(token)).status).toBe(400);
    },
  );

  test.each(['sid', 'sub'] as const)(
    'a logout by %s that is applied late does not end the session of a login after it',
    async (kind) => {
      await world.close();
      await startWithFaults(kind);
      const before = await signIn();
      const providerSession = await sidOf(before);
      const token = await createToken(providerSession);
      storeFault.name = 'take';
      expect((await send(token)).status).toBe(503);
      await world.clock.advance(1);
      const other = await world.startAnotherInstance();
      const after = new Browser(world.origin, await before.jar.clone()); // the provider continues its session
      await forgetSession(after);
      await world.signIn(after); // the write of a session does not fail
      expect(await sidOf(after)).toBe(providerSession);
      storeFault.name = undefined;
      await waitFor(async () => !(await isSignedIn(before)), 5_000);
      expect(await isSignedIn(after)).toBe(true);
      expect((await send(token, other.origin)).status).toBe(200);
      expect(await isSignedIn(after)).toBe(true);
    },
  );

  test('a logout that arrives while Redis is down takes effect when it returns', async () => {
    await world.close();
    const redis = new URL(testRedisUrl());
    const relay = await createRelay({ host: redis.hostname, port: Number(redis.port) });
    await relay.open();
    const url = Object.assign(new URL(redis), { port: String(relay.port) });
    await start('sub', { env: { REDIS_URL: url.href } });
    const browser = await signIn();
    const token = await createToken();
    await relay.close();
    await waitFor(async () => (await browser.fetch('/auth/session')).status === 503, 5_000);
    expect((await send(token)).status).toBe(503);
    await relay.open();
    await waitFor(() => world.latchkey.logLines.some((line) => line.includes('have been applied')), 10_000);
    expect(await isSignedIn(browser)).toBe(false);
    expect([(await send(token)).status, (await send(token)).status]).toEqual([200, 400]);
    await world.close();
    await relay.close();
    await start('sub');
  });

  test('a logout that another instance has applied meanwhile is not applied again', async () => {
    const browser = await signIn();
    const token = await createToken();
    const other = await world.startAnotherInstance();
    storeFault.name = 'take';
    expect((await send(token)).status).toBe(503);
    storeFault.name = undefined;
    expect((await send(token, other.origin)).status).toBe(200);
    await world.signIn(browser);
    await waitFor(() => world.latchkey.logLines.some((line) => line.includes('have been applied')), 5_000);
    expect(await isSignedIn(browser)).toBe(true);
  });
});
