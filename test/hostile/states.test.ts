import { randomBytes } from 'node:crypto';
import { deriveKey, seal, unseal } from '../../src/crypto/sealing.ts';
import { Secret } from '../../src/crypto/secret.ts';
import type { Browser, Page } from '../support/browser.ts';
import { sessionSecret } from '../support/latchkey.ts';
import { createWorld, type World } from '../support/world.ts';

const otherSecret = 'another-secret-that-is-long-enough-too';
const bytesOf = (text: string) => Buffer.from(text, 'base64url');
const textOf = (bytes: Buffer) => bytes.toString('base64url');
const flipped = (bytes: Buffer, bit: number) => {
  const copy = Buffer.from(bytes);
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
};
const key = (secret: string, purpose = 'state') => deriveKey(new Secret(secret), purpose);

/** A callback that stands ready in the browser: a real code and the state that goes with it. */
interface Waiting {
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

  async function waiting(): Promise<Waiting> {
    const browser = world.browser();
    const until = (url: string) => url.startsWith(`${world.origin}/auth/callback`);
    const login = await browser.go('/auth/login');
    const asked = await browser.submit(
      login,
      { login: 'alice', password: 'any' },
      { action: '/login', until },
    );
    const scope = [...asked.text.matchAll(/name="scope" value="([^"]*)"/g)].map(([, each]) => each!);
    const held = await browser.submit(asked, { decision: 'allow', scope }, { action: '/consent', until });
    const { searchParams } = new URL(held.url);
    const one = (name: string) => searchParams.get(name)!;
    const binding = (await browser.cookie('latchkey-login'))!;
    return { browser, code: one('code'), state: one('state'), iss: one('iss'), binding };
  }

  const query = (values: Readonly<Record<string, string>>) => `/auth/callback?${new URLSearchParams(values)}`;
  const tokenRequests = () => world.providerFaults.count(/^\/token$/);

  /** 400 or `status`, nobody asked, nobody signed in, and nothing of the query on the page. */
  async function expectRefusal(browser: Browser, address: string, status = 400): Promise<Page> {
    const before = tokenRequests();
    const page = await browser.step(address, { from: `${world.provider.issuer}/auth` });
    expect([address.slice(0, 200), page.status]).toEqual([address.slice(0, 200), status]);
    expect(page.headers['set-cookie']).toBeUndefined();
    expect(tokenRequests()).toBe(before);
    expect(await browser.cookie('latchkey')).toBeUndefined();
    return page;
  }

  test('takes the state it sealed itself, so that what is refused below is refused for what is wrong with it', async () => {
    const { browser, code, state, iss } = await waiting();
    const before = tokenRequests();
    const page = await browser.step(query({ code, state, iss }), { from: world.provider.issuer });
    expect([page.status, page.headers.location]).toEqual([303, `${world.origin}/profile`]);
    expect(tokenRequests()).toBe(before + 1);
  });

  const forgeries: readonly [how: string, state: (real: Waiting) => string][] = [
    ['empty', () => ''],
    ['a word', () => 'state'],
    ['random bytes of the right length', ({ state }) => textOf(randomBytes(bytesOf(state).length))],
    ['zeros of the right length', ({ state }) => textOf(Buffer.alloc(bytesOf(state).length))],
    ['JSON', () => JSON.stringify({ nonce: 'x', returnTo: '/', scope: '', restarts: 0, at: Date.now() })],
    ['JSON in base64url', () => textOf(Buffer.from(JSON.stringify({ nonce: 'x', at: Date.now() })))],
    ['__proto__', () => '__proto__'],
    ['only a nonce', ({ state }) => textOf(bytesOf(state).subarray(0, 12))],
    ['only a nonce and a tag', ({ state }) => textOf(bytesOf(state).subarray(0, 28))],
    ['with its tag cut short', ({ state }) => textOf(bytesOf(state).subarray(0, 20))],
    ['twice behind itself', ({ state }) => state + state],
    ['with a byte added', ({ state }) => textOf(Buffer.concat([bytesOf(state), Buffer.alloc(1)]))],
    ['reversed', ({ state }) => [...state].reverse().join('')],
    ['in lower case', ({ state }) => state.toLowerCase()],
    ['huge', () => 'A'.repeat(12_000)],
    ['full of NUL', () => '\0'.repeat(200)],
    ['beyond ASCII', () => 'żółw'.repeat(50)],
    ['sealed with another secret', ({ binding }) => sealed(otherSecret, binding)],
    ['sealed for another purpose', ({ binding }) => sealed(sessionSecret, binding, { purpose: 'tokens' })],
    [
      'sealed eleven minutes ago',
      ({ binding }) => sealed(sessionSecret, binding, { at: Date.now() - 660_000 }),
    ],
  ];

  function sealed(secret: string, binding: string, { purpose = 'state', at = Date.now() } = {}): string {
    const nonce = textOf(randomBytes(24));
    const returnTo = `${world.origin}/profile`;
    const plaintext = JSON.stringify({ binding, nonce, returnTo, scope: 'read:profile', restarts: 0, at });
    return textOf(seal(key(secret, purpose), plaintext, 'state'));
  }

  test('would take what these tests seal, were it sealed as we seal', async () => {
    const { browser, code, iss, binding } = await waiting();
    const before = tokenRequests();
    const state = sealed(sessionSecret, binding);
    await browser.step(query({ code, state, iss }), { from: world.provider.issuer });
    expect(tokenRequests()).toBe(before + 1);
    expect(unseal(key(sessionSecret), bytesOf(state), 'state')).toContain('"nonce"');
  });

  test.each(forgeries)('refuses a state that is %s, and the code stays unspent', async (_how, forge) => {
    const real = await waiting();
    await expectRefusal(real.browser, query({ code: real.code, state: forge(real), iss: real.iss }));
    await expectRefusal(real.browser, query({ error: 'access_denied', state: forge(real), iss: real.iss }));
    const page = await real.browser.step(query(fine(real)), { from: world.provider.issuer });
    expect(page.status).toBe(303); // the person it belongs to can still use it
  });

  const fine = ({ code, state, iss }: Waiting) => ({ code, state, iss });

  test('refuses a state with any single bit of it turned over', async () => {
    const { browser, code, state, iss } = await waiting();
    const bytes = bytesOf(state);
    for (let bit = 0; bit < bytes.length * 8; bit += bit < 28 * 8 ? 1 : 5)
      await expectRefusal(browser, query({ code, state: textOf(flipped(bytes, bit)), iss }));
  });

  test('refuses a state cut at any place', async () => {
    const { browser, code, state, iss } = await waiting();
    const bytes = bytesOf(state);
    for (let length = 0; length < bytes.length; length += 1)
      await expectRefusal(browser, query({ code, state: textOf(bytes.subarray(0, length)), iss }));
  });

  test.each([
    ['no state', () => ''],
    ['the state twice', ({ state }: Waiting) => `state=${state}&state=${state}`],
    ['another state before it', ({ state }: Waiting) => `state=x&state=${state}`],
    ['another state behind it', ({ state }: Waiting) => `state=${state}&state=x`],
    ['the state as a list', ({ state }: Waiting) => `state[]=${state}`],
    ['the state in a fragment of the query', ({ state }: Waiting) => `%23state=${state}`],
    ['the state in another case', ({ state }: Waiting) => `State=${state}`],
  ])('refuses an address with %s', async (_how, search) => {
    const real = await waiting();
    await expectRefusal(real.browser, `${query({ code: real.code, iss: real.iss })}&${search(real)}`);
  });

  /** The browser is sent to the provider for a login of its own, once; of the address nothing is used. */
  async function expectNewLogin(browser: Browser, address: string): Promise<void> {
    const before = tokenRequests();
    const page = await browser.step(address, { from: `${world.provider.issuer}/auth` });
    expect([page.status, page.headers.location]).toEqual([
      303,
      expect.stringContaining(`${world.provider.issuer}/auth?`),
    ]);
    const asked = new URL(page.headers.location!).searchParams;
    expect(address).not.toContain(asked.get('state'));
    expect(tokenRequests()).toBe(before);
    expect(await browser.cookie('latchkey')).toBeUndefined();
  }

  test('uses nothing of a state in another browser than the one that began', async () => {
    const { code, state, iss } = await waiting();
    const stranger = world.browser();
    await expectNewLogin(stranger, query({ code, state, iss })); // has never been here
    const other = await waiting();
    await expectNewLogin(other.browser, query({ code, state, iss })); // has a login of its own under way
    for (const binding of ['', 'x', 'A'.repeat(43), `${other.binding}=`, other.binding.slice(1)]) {
      const forger = world.browser();
      await forger.jar.setCookie(`latchkey-login=${binding}; Path=/`, world.origin);
      await expectNewLogin(forger, query({ code, state, iss }));
    }
    await expectRefusal(stranger, query({ error: 'access_denied', state, iss })); // nobody here has said no
  });

  test('leaves who is signed in as they are, whatever the state of another browser says', async () => {
    const { code, state, iss } = await waiting();
    const bob = world.browser();
    await world.signIn(bob, 'bob');
    const session = await bob.cookie('latchkey');
    const before = tokenRequests();
    const page = await bob.step(query({ code, state, iss }), { from: `${world.provider.issuer}/auth` });
    expect([page.status, page.headers.location]).toEqual([303, `${world.origin}/profile`]);
    expect([tokenRequests(), await bob.cookie('latchkey')]).toEqual([before, session]);
  });

  test('refuses a state after ten minutes, and takes it until then', async () => {
    const [inTime, late] = [await waiting(), await waiting()];
    world.clock.advance(590);
    const page = await inTime.browser.step(query(fine(inTime)), { from: world.provider.issuer });
    expect(page.status).toBe(303);
    world.clock.advance(20);
    await expectRefusal(late.browser, query(fine(late)));
  });

  test.each([['https://evil.example'], [''], ['null'], ['ISS/'], ['ISS.evil.example'], ['ISS@evil.example']])(
    'refuses an answer that says it is from %p',
    async (iss) => {
      const { browser, code, state } = await waiting();
      const other = iss.replace('ISS', world.provider.issuer);
      await expectRefusal(browser, query({ code, state, iss: other }));
    },
  );

  test('refuses an answer without iss from a provider that always sends it, and one with two', async () => {
    const [one, two] = [await waiting(), await waiting()];
    await expectRefusal(one.browser, query({ code: one.code, state: one.state }));
    await expectRefusal(two.browser, `${query(fine(two))}&iss=https%3A%2F%2Fevil.example`);
  });

  test.each([
    ['the code twice', ({ code }: Waiting) => `code=${code}&code=${code}`],
    ['no code and no error', () => ''],
    ['an empty code', () => 'code='],
    ['an error beside the code', ({ code }: Waiting) => `code=${code}&error=server_error`],
    ['an ID token nobody asked for here', () => 'id_token=eyJhbGciOiJub25lIn0.e30.&token_type=bearer'],
    ['a whole signed answer nobody asked for', () => 'response=eyJhbGciOiJub25lIn0.e30.'],
  ])('spends nothing on an address with %s', async (_how, search) => {
    const real = await waiting();
    const { state, iss } = real;
    await expectRefusal(real.browser, `${query({ state, iss })}&${search(real)}`);
  });

  test('answers someone who said no with a page in our own words', async () => {
    const { browser, state, iss } = await waiting();
    const page = await expectRefusal(browser, query({ error: 'access_denied', state, iss }), 403);
    expect(page.text).toContain('The sign-in was not completed');
    expect(page.text).toContain('href="/login"');
  });

  const marks = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "javascript:alert('1')",
    '{{7*7}}',
  ];
  const places = ['error', 'error_description', 'error_uri', 'state', 'iss', 'code', 'unknown'];
  test.each(marks.flatMap((mark) => places.map((place) => [mark, place] as const)))(
    'never shows %s that came in %s',
    async (mark, place) => {
      const call = 'Your account is locked: call 0900-EVIL';
      for (const accept of ['text/html', 'application/json']) {
        const { browser, state, iss } = await waiting();
        const sent = { error: 'server_error', error_description: call, state, iss, [place]: `${mark}MARK` };
        const headers = { accept, 'sec-fetch-mode': accept === 'text/html' ? 'navigate' : 'cors' };
        const page = await browser.step(query(sent), { headers });
        expect(page.headers['content-type']).toContain(accept);
        expect(page.status).toBe(400);
        for (const word of [mark, 'MARK', 'EVIL', 'onerror', 'alert(1)', '&lt;script', 'server_error'])
          expect([word, page.text.includes(word)]).toEqual([word, false]);
      }
    },
  );
});
