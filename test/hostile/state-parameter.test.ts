import { type KeyObject, randomBytes } from 'node:crypto';
import { deriveKeys, formatVersion, seal, unseal } from '../../src/crypto/sealing.ts';
import { Secret } from '../../src/crypto/secret.ts';
import { type Browser, cookieNames, type Page } from '../support/browser.ts';
import { sessionSecret } from '../support/latchkey.ts';
import { createWorld, type World } from '../support/world.ts';

const otherSecret = 'another-secret-that-is-long-enough-too';
const bytesOf = (text: string) => Buffer.from(text, 'base64url');
const textOf = (bytes: Buffer) => bytes.toString('base64url');
const flipBit = (bytes: Buffer, bit: number) => {
  const copy = Buffer.from(bytes);
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
};

/** A login up to the callback, which has not been requested yet: a real code and its state. */
interface PendingCallback {
  readonly browser: Browser;
  readonly code: string;
  readonly state: string;
  readonly iss: string;
  readonly binding: string;
}

describe('the callback', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
  });
  afterAll(() => world.close());

  /** By default, the key with which Latchkey seals states. */
  function key(
    secret: string,
    purpose = 'state',
    { registration }: { registration: string } = world.latchkey.config.session,
  ): KeyObject {
    return deriveKeys({ secrets: [new Secret(secret)], registration }, purpose)[0]!;
  }

  async function reachCallback(): Promise<PendingCallback> {
    const browser = world.browser();
    const until = (url: string) => url.startsWith(`${world.origin}/auth/callback`);
    const login = await browser.go('/auth/login');
    const consent = await browser.submit(
      login,
      { login: 'alice', password: 'any' },
      { action: '/login', until },
    );
    const scope = [...consent.text.matchAll(/name="scope" value="([^"]*)"/g)].map(([, each]) => each!);
    const callback = await browser.submit(
      consent,
      { decision: 'allow', scope },
      { action: '/consent', until },
    );
    const { searchParams } = new URL(callback.url);
    const param = (name: string) => searchParams.get(name)!;
    const binding = (await browser.loginCookie())!;
    return { browser, code: param('code'), state: param('state'), iss: param('iss'), binding };
  }

  const query = (values: Readonly<Record<string, string>>) => `/auth/callback?${new URLSearchParams(values)}`;
  const tokenRequests = () => world.providerFaults.count(/^\/token$/);

  /** The response is 400 or `status`, the provider is not called, and nobody is signed in. */
  async function expectRejection(browser: Browser, address: string, status = 400): Promise<Page> {
    const before = tokenRequests();
    const page = await browser.step(address, { from: `${world.provider.issuer}/auth` });
    expect([address.slice(0, 200), page.status]).toEqual([address.slice(0, 200), status]);
    expect(page.headers['set-cookie']).toBeUndefined();
    expect(tokenRequests()).toBe(before);
    expect(await browser.sessionCookie()).toBeUndefined();
    return page;
  }

  test('accepts a state that Latchkey sealed (control for the rejections below)', async () => {
    const { browser, code, state, iss } = await reachCallback();
    const before = tokenRequests();
    const page = await browser.step(query({ code, state, iss }), { from: world.provider.issuer });
    expect([page.status, page.headers.location]).toEqual([303, `${world.origin}/profile`]);
    expect(tokenRequests()).toBe(before + 1);
  });

  const forgeries: readonly [how: string, state: (real: PendingCallback) => string][] = [
    ['an empty text', () => ''],
    ['a word', () => 'state'],
    ['random bytes of the right length', ({ state }) => textOf(randomBytes(bytesOf(state).length))],
    ['zeros of the right length', ({ state }) => textOf(Buffer.alloc(bytesOf(state).length))],
    [
      'plain JSON',
      () => JSON.stringify({ nonce: 'x', returnTo: '/', scope: '', restarts: 0, at: Date.now() }),
    ],
    ['JSON in base64url', () => textOf(Buffer.from(JSON.stringify({ nonce: 'x', at: Date.now() })))],
    ['__proto__', () => '__proto__'],
    ['the nonce of a real state', ({ state }) => textOf(bytesOf(state).subarray(0, 12))],
    ['the nonce and tag of a real state', ({ state }) => textOf(bytesOf(state).subarray(0, 28))],
    ['a real state with a truncated tag', ({ state }) => textOf(bytesOf(state).subarray(0, 20))],
    ['a real state repeated', ({ state }) => state + state],
    [
      'a real state with an extra byte',
      ({ state }) => textOf(Buffer.concat([bytesOf(state), Buffer.alloc(1)])),
    ],
    ['a real state reversed', ({ state }) => [...state].reverse().join('')],
    ['a real state in lower case', ({ state }) => state.toLowerCase()],
    ['a text of 12,000 characters', () => 'A'.repeat(12_000)],
    ['a text of NUL characters', () => '\0'.repeat(200)],
    ['a text that is not ASCII', () => 'żółw'.repeat(50)],
    ['a state sealed with another secret', ({ binding }) => sealState(otherSecret, binding)],
    [
      'a state sealed for another purpose',
      ({ binding }) => sealState(sessionSecret, binding, { purpose: 'tokens' }),
    ],
    [
      'a state sealed for another provider or client',
      ({ binding }) => sealState(sessionSecret, binding, { registration: 'another-registra' }),
    ],
  ];

  interface SealOptions {
    readonly purpose?: string;
    readonly at?: number;
    readonly registration?: string;
    readonly v?: number;
  }

  function sealState(
    secret: string,
    binding: string,
    { purpose = 'state', at = Date.now(), registration, v = formatVersion }: SealOptions = {},
  ): string {
    const nonce = textOf(randomBytes(24));
    const returnTo = `${world.origin}/profile`;
    const plaintext = JSON.stringify({ v, binding, nonce, returnTo, scope: 'read:profile', restarts: 0, at });
    const source = registration === undefined ? undefined : { registration };
    return textOf(seal(key(secret, purpose, source), plaintext, 'state'));
  }

  test('accepts a state that the test sealed with the right key (control for the rejections below)', async () => {
    const { browser, code, iss, binding } = await reachCallback();
    const before = tokenRequests();
    const state = sealState(sessionSecret, binding);
    await browser.step(query({ code, state, iss }), { from: world.provider.issuer });
    expect(tokenRequests()).toBe(before + 1);
    expect(unseal(key(sessionSecret), bytesOf(state), 'state')).toContain('"nonce"');
  });

  test('answers 503 to a state of an unknown format version, without redeeming the code', async () => {
    const { browser, code, iss, binding } = await reachCallback();
    const state = sealState(sessionSecret, binding, { v: formatVersion + 1 });
    await expectRejection(browser, query({ code, state, iss }), 503);
  });

  test.each(forgeries)(
    'rejects %s as the state parameter, without redeeming the code',
    async (_how, forge) => {
      const real = await reachCallback();
      await expectRejection(real.browser, query({ code: real.code, state: forge(real), iss: real.iss }));
      await expectRejection(
        real.browser,
        query({ error: 'access_denied', state: forge(real), iss: real.iss }),
      );
      const page = await real.browser.step(query(paramsOf(real)), { from: world.provider.issuer });
      expect(page.status).toBe(303); // the real state still works
    },
  );

  const paramsOf = ({ code, state, iss }: PendingCallback) => ({ code, state, iss });

  test('rejects a state with any single bit flipped', async () => {
    const { browser, code, state, iss } = await reachCallback();
    const bytes = bytesOf(state);
    for (let bit = 0; bit < bytes.length * 8; bit += bit < 28 * 8 ? 1 : 5)
      await expectRejection(browser, query({ code, state: textOf(flipBit(bytes, bit)), iss }));
  }, 60_000);

  test('rejects a state truncated at any length', async () => {
    const { browser, code, state, iss } = await reachCallback();
    const bytes = bytesOf(state);
    for (let length = 0; length < bytes.length; length += 1)
      await expectRejection(browser, query({ code, state: textOf(bytes.subarray(0, length)), iss }));
  }, 60_000);

  test.each([
    ['no state', () => ''],
    ['the state twice', ({ state }: PendingCallback) => `state=${state}&state=${state}`],
    ['another state before the real one', ({ state }: PendingCallback) => `state=x&state=${state}`],
    ['another state after the real one', ({ state }: PendingCallback) => `state=${state}&state=x`],
    ['the state as a list', ({ state }: PendingCallback) => `state[]=${state}`],
    ['the state in a parameter named #state', ({ state }: PendingCallback) => `%23state=${state}`],
    ['the state in a parameter named State', ({ state }: PendingCallback) => `State=${state}`],
  ])('rejects a callback URL with %s', async (_how, search) => {
    const real = await reachCallback();
    await expectRejection(real.browser, `${query({ code: real.code, iss: real.iss })}&${search(real)}`);
  });

  /** Latchkey redirects the browser to the provider for a new login, and uses nothing of the callback URL. */
  async function expectNewLogin(browser: Browser, address: string): Promise<void> {
    const before = tokenRequests();
    const page = await browser.step(address, { from: `${world.provider.issuer}/auth` });
    expect([page.status, page.headers.location]).toEqual([
      303,
      expect.stringContaining(`${world.provider.issuer}/auth?`),
    ]);
    const authorizationRequest = new URL(page.headers.location!).searchParams;
    expect(address).not.toContain(authorizationRequest.get('state'));
    expect(tokenRequests()).toBe(before);
    expect(await browser.sessionCookie()).toBeUndefined();
  }

  test('ignores a state issued to another browser, and starts a new login', async () => {
    const { code, state, iss } = await reachCallback();
    const fresh = world.browser();
    await expectNewLogin(fresh, query({ code, state, iss })); // it has no login cookie
    const other = await reachCallback();
    await expectNewLogin(other.browser, query({ code, state, iss })); // it has started a login of its own
    for (const binding of ['', 'x', 'A'.repeat(43), `${other.binding}=`, other.binding.slice(1)]) {
      const forger = world.browser();
      await forger.jar.setCookie(`${cookieNames(world.origin).login}=${binding}; Path=/`, world.origin);
      await expectNewLogin(forger, query({ code, state, iss }));
    }
    await expectRejection(fresh, query({ error: 'access_denied', state, iss }), 403); // denied in another browser
  });

  test('keeps the session of a signed-in user who opens the callback URL of another browser', async () => {
    const { code, state, iss } = await reachCallback();
    const bob = world.browser();
    await world.signIn(bob, 'bob');
    const session = await bob.sessionCookie();
    const before = tokenRequests();
    const page = await bob.step(query({ code, state, iss }), { from: `${world.provider.issuer}/auth` });
    expect([page.status, page.headers.location]).toEqual([303, `${world.origin}/profile`]);
    expect([tokenRequests(), await bob.sessionCookie()]).toEqual([before, session]);
  });

  test("a restarted login requests nothing that only another user's session or signed link could", async () => {
    const attacker = world.browser();
    await world.signIn(attacker);
    world.apiFaults.set({
      response: {
        status: 403,
        headers: { 'www-authenticate': 'Bearer error="insufficient_scope", scope="orders:write"' },
      },
    });
    const { login_url } = (await attacker.fetch('/api/profile')).json() as { login_url: string };
    world.apiFaults.set(undefined);
    const state = new URL((await attacker.step(login_url)).headers.location!).searchParams.get('state')!;
    const victim = world.browser();
    await world.signIn(victim, 'bob');
    const address = query({ code: 'x', state, iss: world.provider.issuer });
    for (const browser of [victim, world.browser()]) {
      const { location } = (await browser.step(address, { from: world.provider.issuer })).headers;
      expect(location).not.toContain('orders');
    }
    await world.signIn(victim, 'bob', address);
    // Neither user can end the session of the other.
    await attacker.step('/auth/logout', { method: 'POST', from: world.origin });
    expect((await victim.fetch('/auth/session')).json()).toMatchObject({ authenticated: true });
  });

  test('an empty error parameter does not make a used code redeemable again', async () => {
    const real = await reachCallback();
    await real.browser.step(query(paramsOf(real)), { from: world.provider.issuer });
    const before = tokenRequests();
    await real.browser.step(`${query(paramsOf(real))}&error=`, { from: world.provider.issuer });
    expect(tokenRequests()).toBe(before);
  });

  test('accepts a state for ten minutes and starts a new login afterwards', async () => {
    const [inTime, late] = [await reachCallback(), await reachCallback()];
    await world.clock.advance(590);
    const page = await inTime.browser.step(query(paramsOf(inTime)), { from: world.provider.issuer });
    expect(page.status).toBe(303);
    await world.clock.advance(20);
    await expectNewLogin(late.browser, query(paramsOf(late)));
  });

  test.each([
    ['https://evil.example'],
    [''],
    ['null'],
    ['{issuer}/'],
    ['{issuer}.evil.example'],
    ['{issuer}@evil.example'],
  ])('rejects a response with the iss %p', async (iss) => {
    const { browser, code, state } = await reachCallback();
    const other = iss.replace('{issuer}', world.provider.issuer);
    await expectRejection(browser, query({ code, state, iss: other }));
  });

  test('rejects a response without iss from a provider that always sends it, and a response with two iss parameters', async () => {
    const [one, two] = [await reachCallback(), await reachCallback()];
    await expectRejection(one.browser, query({ code: one.code, state: one.state }));
    await expectRejection(two.browser, `${query(paramsOf(two))}&iss=https%3A%2F%2Fevil.example`);
  });

  test.each([
    ['the code twice', ({ code }: PendingCallback) => `code=${code}&code=${code}`],
    ['no code and no error', () => ''],
    ['an empty code', () => 'code='],
    ['an error and a code', ({ code }: PendingCallback) => `code=${code}&error=invalid_request`],
    ['an ID token that was not requested', () => 'id_token=eyJhbGciOiJub25lIn0.e30.&token_type=bearer'],
    ['a signed response that was not requested', () => 'response=eyJhbGciOiJub25lIn0.e30.'],
  ])('rejects a callback URL with %s, without redeeming the code', async (_how, search) => {
    const real = await reachCallback();
    const { state, iss } = real;
    await expectRejection(real.browser, `${query({ state, iss })}&${search(real)}`);
  });

  test('leads to a page of ours, at an address without the state, when the user denies consent', async () => {
    const { browser, state, iss } = await reachCallback();
    const { headers } = await browser.step(query({ error: 'access_denied', state, iss }));
    expect(headers.location).toBe(`${world.origin}/auth/sign-in?return_to=%2Fprofile`);
  });

  const payloads = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "javascript:alert('1')",
    '{{7*7}}',
  ];
  const parameters = ['error', 'error_description', 'error_uri', 'state', 'iss', 'code', 'unknown'];
  test.each(payloads.flatMap((payload) => parameters.map((parameter) => [payload, parameter] as const)))(
    'never shows %s from the parameter %s',
    async (payload, parameter) => {
      const message = 'Your account is locked: call 0900-EVIL';
      for (const accept of ['text/html', 'application/json']) {
        const { browser, state, iss } = await reachCallback();
        const values = {
          error: 'invalid_request',
          error_description: message,
          state,
          iss,
          [parameter]: `${payload}MARK`,
        };
        const headers = { accept, 'sec-fetch-mode': accept === 'text/html' ? 'navigate' : 'cors' };
        const page = await browser.step(query(values), { headers });
        expect(page.headers['content-type']).toContain(accept);
        expect(page.status).toBe(400);
        for (const word of [payload, 'MARK', 'EVIL', 'onerror', 'alert(1)', '&lt;script', 'invalid_request'])
          expect([word, page.text.includes(word)]).toEqual([word, false]);
      }
    },
  );
});
