import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { WebSocket } from 'ws';
import { startDemoProvider } from '../../demo/provider.ts';
import { startDemoResourceServer } from '../../demo/resource-server.ts';
import { createApp } from '../../examples/existing-app/src/app.ts';
import { startVisitorService } from '../../examples/existing-app/src/visitors.ts';
import { createLatchkey } from '../../src/embedded/create-latchkey.ts';
import { Browser } from '../support/browser.ts';
import { listenOnFreePort, sessionSecret } from '../support/latchkey.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { testRedisUrl } from '../support/test-redis.ts';
import { finishSignIn } from '../support/world.ts';

const closers: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** The example as its `main.ts` starts it, with the demo provider, the demo API and Redis, on free ports. */
async function startExample() {
  const { server, origin } = await listenOnFreePort();
  closers.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const client = { clientId: `example-${randomBytes(4).toString('hex')}`, clientSecret: 'a secret' };
  const resourceServer = { clientId: 'the-api', clientSecret: 'another secret' };
  const provider = await startDemoProvider({
    ...{ port: 0, ...client, resourceServer },
    redirectUris: [`${origin}/auth/callback`],
    postLogoutRedirectUris: [`${origin}/auth/signed-out`],
  });
  closers.push(provider.close);
  const { introspectionUrl } = provider;
  const api = await startDemoResourceServer({ port: 0, introspectionUrl, ...resourceServer });
  closers.push(api.close);
  const visitors = await startVisitorService({ port: 0, apiUrl: api.url });
  closers.push(() => visitors.close());
  const target = `http://127.0.0.1:${(visitors.address() as AddressInfo).port}/visitors`;
  const latchkey = createLatchkey({
    settings: {
      OAUTH2_ISSUER: provider.issuer,
      OAUTH2_CLIENT_ID: client.clientId,
      OAUTH2_CLIENT_SECRET: client.clientSecret,
      OAUTH2_REDIRECT_URI: `${origin}/auth/callback`,
      OAUTH2_SCOPES: 'openid profile email read:profile read:data write:data',
      OAUTH2_API_BASE_URL: api.url,
      API_ROUTES_FILE: writeRoutesFile([
        { path: '/visitors', target, methods: { GET: {} }, webSocket: true },
      ]),
      SESSION_SECRET: sessionSecret,
      REDIS_URL: testRedisUrl(),
      ...{ NODE_ENV: 'test', LOG_LEVEL: 'silent', AUDIT_LOG: 'none' },
    },
  });
  closers.push(latchkey.close);
  server.on('request', createApp(latchkey, 'a secret of the app'));
  latchkey.attach(server);
  await latchkey.ready();
  return { origin };
}

test('examples/existing-app: login, a protected page, API calls, a forwarded route, its own session, a WebSocket until sign-out', async () => {
  const { origin } = await startExample();
  const browser = new Browser(origin);
  const home = await browser.go('/');
  expect(home.text).toContain('Sign in');
  await browser.submit(home, { size: '2' }, { action: '/page-size' });
  const items = await finishSignIn(browser, await browser.go('/items'), 'alice');
  expect([items.status, items.url]).toEqual([200, `${origin}/items`]);
  expect(items.text.match(/<li>/g)).toHaveLength(2);
  expect((await browser.go('/')).text).toContain('Hello Alice');

  const headers = { 'content-type': 'application/json' };
  const body = JSON.stringify({ title: '<b>from the example</b>' });
  expect((await browser.fetch('/items', { method: 'POST', headers, body })).status).toBe(201);
  const crossSite = { ...headers, 'sec-fetch-site': 'cross-site' };
  expect((await browser.fetch('/items', { method: 'POST', headers: crossSite, body })).status).toBe(403);
  await browser.submit(await browser.go('/'), { size: '50' }, { action: '/page-size' });
  expect((await browser.go('/items')).text).toContain('<li>&#60;b&#62;from the example&#60;/b&#62;</li>');

  const socket = new WebSocket(`${origin.replace('http', 'ws')}/api/visitors`, {
    headers: { cookie: await browser.jar.getCookieString(origin), origin },
  });
  const [message] = await once(socket, 'message');
  expect(JSON.parse(String(message))).toEqual([expect.stringContaining('Alice')]);
  const closed = once(socket, 'close');
  await browser.fetch('/auth/logout', { method: 'POST' });
  await closed;
  expect((await browser.fetch('/items')).status).toBe(401);
});
