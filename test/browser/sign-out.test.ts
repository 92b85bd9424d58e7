import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { BrowserContextOptions } from 'playwright-core';
import { visit } from '../support/chromium.ts';
import { createWorld, type World } from '../support/world.ts';
import { signIn, signInAtProvider, waitForProfile } from './support/sign-in.ts';

/** An origin that redirects every navigation to `next`, as an upstream identity provider does at a federated sign-out. */
async function startHop(next: () => string): Promise<{ url: string; visits: () => number; server: Server }> {
  let count = 0;
  const server = createServer((_req, res) => {
    count += 1;
    res.writeHead(303, { location: next() }).end();
  });
  await new Promise<void>((done) => {
    server.listen(0, '127.0.0.1', done);
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, visits: () => count, server };
}

describe.each<[string, BrowserContextOptions]>([
  ['with JavaScript', {}],
  ['without JavaScript', { javaScriptEnabled: false }],
])('a sign-out over two further origins %s', (_setup, options) => {
  let world: World;
  let hops: Awaited<ReturnType<typeof startHop>>[];
  beforeAll(async () => {
    const last = await startHop(() => `${world.origin}/auth/signed-out`);
    const first = await startHop(() => `${last.url}/upstream`);
    hops = [first, last];
    world = await createWorld({
      env: { OAUTH2_SCOPES: 'openid profile read:profile', OAUTH2_END_SESSION_URL: `${first.url}/end` },
    });
  });
  afterAll(async () => {
    await world.close();
    for (const { server } of hops) server.close();
  });

  test('reaches every origin and ends on the signed-out page', async () => {
    const alice = await visit(
      world,
      options,
      hops.map(({ url }) => url),
    );
    const page = await alice.openTab();
    await signIn(page);
    await page.getByRole('button', { name: 'Sign out', exact: true }).click();
    await page.getByRole('heading', { name: 'You are signed out' }).waitFor();
    expect(page.url()).toBe(`${world.origin}/auth/signed-out`);
    expect(hops.map(({ visits }) => visits())).toEqual([1, 1]);
    await page.goBack({ waitUntil: 'commit' });
    await page.getByRole('heading', { level: 1 }).waitFor();
    expect(await (await alice.context.request.get('/auth/session')).json()).toEqual({ authenticated: false });
  });
});

describe('signing in takes longer, or many tabs', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld({ env: { OAUTH2_SCOPES: 'openid profile read:profile' } });
  });
  afterAll(() => world.close());

  test('a second factor that takes eleven minutes costs no login', async () => {
    const alice = await visit(world);
    const page = await alice.openTab('/auth/login?return_to=/profile?late');
    await page.getByLabel('Password').waitFor();
    await world.clock.advance(660);
    await signInAtProvider(page);
    await page.getByRole('button', { name: 'Allow' }).click();
    await waitForProfile(page);
    expect(page.url()).toBe(`${world.origin}/profile?late`);
  });

  test('twenty tabs that all began to sign in end on their own pages', async () => {
    const alice = await visit(world);
    const tabs = await Promise.all(
      Array.from({ length: 20 }, (_, index) => alice.openTab(`/auth/login?return_to=/?tab=${index}`)),
    );
    await signInAtProvider(tabs[0]!);
    await tabs[0]!.getByRole('button', { name: 'Allow' }).click();
    await tabs[0]!.waitForURL(`${world.origin}/?tab=0`);
    for (const tab of tabs.slice(1)) await signInAtProvider(tab);
    for (const [index, tab] of tabs.entries()) {
      await tab.waitForURL(`${world.origin}/?tab=${index}`);
      await tab.getByRole('link', { name: 'Continue as Alice Liddell' }).waitFor();
    }
  });

  test('Back, Reload and a bookmark of the signing-out page sign nobody in', async () => {
    const alice = await visit(world);
    const page = await alice.openTab();
    await signIn(page);
    await page.getByRole('button', { name: 'Sign out', exact: true }).click();
    await page.getByRole('heading', { name: 'Sign out of Demo ID too?' }).waitFor();
    await page.goBack({ waitUntil: 'commit' });
    await page.getByRole('heading', { level: 1 }).waitFor();
    await page.goto('/auth/logout');
    await page.getByRole('heading', { name: 'You are signed out' }).waitFor();
    await page.reload();
    expect(await (await alice.context.request.get('/auth/session')).json()).toEqual({ authenticated: false });
  });
});

describe('a link on another site', () => {
  let world: World;
  let other: Awaited<ReturnType<typeof startHop>>;
  beforeAll(async () => {
    world = await createWorld({ env: { OAUTH2_SCOPES: 'openid profile read:profile' } });
    other = await startHop(() => `${world.origin}/auth/login?return_to=/profile?from=elsewhere`);
  });
  afterAll(async () => {
    await world.close();
    other.server.close();
  });

  test('shows the sign-in page first, and leads to its target after the click', async () => {
    const alice = await visit(world, {}, [other.url]);
    const page = await alice.openTab();
    await page.goto(`${world.provider.issuer}/session/end`); // a page of another site
    await page.evaluate(`location.assign('${other.url}/link')`);
    await page.getByRole('link', { name: /Sign in with/ }).click();
    await signInAtProvider(page);
    await page.getByRole('button', { name: 'Allow' }).click();
    await waitForProfile(page);
    expect(page.url()).toBe(`${world.origin}/profile?from=elsewhere`);
  });
});
