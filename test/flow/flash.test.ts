import type { Browser } from '../support/browser.ts';
import { allow, createWorld, finishSignIn, type World } from '../support/world.ts';

let world: World;
let browser: Browser;
beforeAll(async () => {
  world = await createWorld({ env: { OAUTH2_SCOPES: 'openid profile', APP_NAME: 'Rose Garden' } });
});
afterAll(() => world.close());
beforeEach(() => {
  browser = world.browser();
});

const messagesOn = (text: string) =>
  [...text.matchAll(/class="flash" role="status">(.*?)<\/div>/g)].flatMap(([, each]) =>
    [...each!.matchAll(/<p>(.*?)<\/p>/g)].map(([, message]) => message),
  );
const messagesAt = async (path: string, options = {}) => messagesOn((await browser.go(path, options)).text);
/** A login that ends on a page that shows no messages. */
const signInQuietly = async (user: string) => {
  const page = await browser.go('/auth/login?return_to=/healthz');
  await finishSignIn(browser, page, user);
};

test('the page after a login says so, once, on any page and any instance', async () => {
  await signInQuietly('alice');
  const other = await world.startAnotherInstance();
  const cookie = await browser.jar.getCookieString(world.origin);
  const elsewhere = await fetch(`${other.origin}/`, { headers: { cookie, accept: 'text/html' } });
  expect(messagesOn(await elsewhere.text())).toEqual(['You&#39;re signed in.']);
  expect(await messagesAt('/')).toEqual(['You&#39;re signed in.']);
  expect(await messagesAt('/profile')).toEqual([]);
});

test('an error page and a prefetch leave the message to the next page', async () => {
  await signInQuietly('alice');
  expect(await messagesAt('/unknown')).toEqual([]);
  expect(await messagesAt('/', { headers: { 'sec-purpose': 'prefetch' } })).toEqual([]);
  expect(await messagesAt('/')).toHaveLength(1);
});

test('a message is not shown later, as after a visit of a front end of your own', async () => {
  await signInQuietly('alice');
  await world.clock.advance(61);
  expect(await messagesAt('/profile')).toEqual([]);
});

test('a message is shown neither to another user nor to nobody, and cannot be forged', async () => {
  await signInQuietly('alice');
  const ofAlice = (await browser.jar.getCookies(world.origin)).find(({ key }) => key.endsWith('-flash'))!;
  const bob = world.browser();
  await world.signIn(bob, 'bob');
  for (const value of [ofAlice.value, `${ofAlice.value.slice(0, -2)}AA`, 'signed_in', '']) {
    await bob.jar.setCookie(`${ofAlice.key}=${value}; Path=/`, world.origin);
    expect(messagesOn((await bob.go('/')).text)).toEqual([]);
  }
  const nobody = world.browser();
  await nobody.jar.setCookie(`${ofAlice.key}=${ofAlice.value}; Path=/`, world.origin);
  expect(messagesOn((await nobody.go('/')).text)).toEqual([]);
});

test('after a step-up, the page says which permissions were given and which were not', async () => {
  await world.signIn(browser);
  const consent = await browser.go('/auth/login?scope=read:data%20write:data&return_to=/');
  const page = await allow(browser, consent, ['read:data']);
  expect(messagesOn(page.text)).toEqual([
    'You gave Rose Garden permission for: read:data.',
    'You didn&#39;t give Rose Garden permission for: write:data. Everything else stays as it was.',
  ]);
});

describe('signing out', () => {
  const signOut = () => browser.step('/auth/logout', { method: 'POST', from: `${world.origin}/` });

  test('confirmed by the provider: the page asks nobody to check, at an address without the state', async () => {
    await world.signIn(browser);
    const atProvider = await browser.go('/auth/logout', { method: 'POST', from: `${world.origin}/` });
    const xsrf = /name="xsrf" value="([^"]*)"/.exec(atProvider.text)![1]!;
    const page = await browser.submit(atProvider, { logout: 'yes', xsrf }, { action: '/session/end' });
    expect(page.url).toBe(`${world.origin}/auth/signed-out`);
    expect(page.text).toContain('out of Rose Garden in this browser');
    expect(page.text).not.toMatch(/share this computer/);
  });

  test('with the state of another browser, or none: the page says that it could not be confirmed', async () => {
    await world.signIn(browser);
    await signOut();
    const page = await browser.go('/auth/signed-out?state=AAAAAAAAAAAAAAAAAAAAAA');
    expect(page.url).toBe(`${world.origin}/auth/signed-out`);
    expect(page.text).toContain('couldn&#39;t confirm that you&#39;re signed out of localhost too');
    expect((await browser.go('/auth/signed-out')).text).not.toContain('couldn&#39;t confirm');
  });

  test('a user who does not come back from the provider learns it on the next page, also minutes later', async () => {
    await world.signIn(browser);
    await signOut();
    await world.clock.advance(500);
    expect(await messagesAt('/')).toEqual([expect.stringContaining('signed out of Rose Garden')]);
  });
});

test('a login writes nothing to the session data but its time', async () => {
  await signInQuietly('alice');
  const id = decodeURIComponent((await browser.sessionCookie())!)
    .slice(2)
    .split('.')[0]!;
  const data = await new Promise<object>((resolve, reject) => {
    world.latchkey.deps.sessionStore.get(id, (error, found) => (error ? reject(error) : resolve(found!)));
  });
  expect(Object.keys(data).filter((name) => name !== 'cookie')).toEqual(['startedAt']);
});
