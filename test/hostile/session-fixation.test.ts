import { sign } from 'cookie-signature';
import { type Browser, cookieNames } from '../support/browser.ts';
import { createWorld, type World } from '../support/world.ts';
import { parseSessionId, readRecord, readSession } from './support/logged-in.ts';
import { sendRequest } from './support/raw-http.ts';

const otherSecret = 'another-secret-that-is-long-enough-too';
const neverIssued = 'AttackerChoseThisSessionIdItself';
const signed = (id: string, secret: string) => encodeURIComponent(`s:${sign(id, secret)}`);

/**
 * Values an attacker can construct without our secret; `id` is the id of the attacker's own session, `signedId` is the
 * same with its signature.
 */
const forged: readonly [how: string, value: (id: string, signedId: string) => string][] = [
  ['an id that was never issued, unsigned', () => neverIssued],
  ['an id that was never issued, with the prefix of a signed one', () => `s%3A${neverIssued}`],
  ['an id that was never issued, with an empty signature', () => `s%3A${neverIssued}.`],
  ['an id that was never issued, with a made-up signature', () => `s%3A${neverIssued}.${'A'.repeat(43)}`],
  ['an id that was never issued, signed with another secret', () => signed(neverIssued, otherSecret)],
  ['an id that was never issued, signed with a blank secret', () => signed(neverIssued, ' ')],
  ["the attacker's session id, unsigned", (id) => id],
  ["the attacker's session id with the prefix of a signed one", (id) => `s%3A${id}`],
  ["the attacker's session id, signed with another secret", (id) => signed(id, otherSecret)],
  ["the attacker's session id, signed, without the prefix s:", (_id, signedId) => signedId],
  [
    "the attacker's session id, signed, with the prefix S:",
    (_id, signedId) => `S%3A${encodeURIComponent(signedId)}`,
  ],
  [
    "the attacker's session id, signed, with the prefix s:s:",
    (_id, signedId) => `s%3As%3A${encodeURIComponent(signedId)}`,
  ],
  [
    "the attacker's session id as JSON, with the prefix j:",
    (id) => `j%3A${encodeURIComponent(JSON.stringify({ id }))}`,
  ],
  [
    "the attacker's session id with a truncated signature",
    (_id, signedId) => encodeURIComponent(`s:${signedId.slice(0, -1)}`),
  ],
  [
    "the attacker's session id with a longer signature",
    (_id, signedId) => `${encodeURIComponent(`s:${signedId}`)}A`,
  ],
  ["the attacker's session id in quotes, signed with another secret", (id) => `"${signed(id, otherSecret)}"`],
  ['an empty id, signed with another secret', () => signed('', otherSecret)],
  ['the name of a prototype property', () => '__proto__'],
  ['the name of another Redis key', (id) => `s%3A..%2F${id}%3Atokens.x`],
  ['a value that cannot be decoded', () => 's%3A%E0%A4%A'],
  ['an empty value', () => ''],
  ['a value of 8,000 characters', () => `s%3A${'A'.repeat(8_000)}.${'B'.repeat(43)}`],
];

describe('a session cookie planted in a browser before its user signs in', () => {
  let world: World;
  let attacker: Browser;
  beforeAll(async () => {
    world = await createWorld({ env: { OAUTH2_SCOPES: 'openid profile read:profile' } });
  });
  afterAll(() => world.close());
  beforeEach(async () => {
    attacker = world.browser();
    await world.signIn(attacker, 'bob');
  });

  const plant = (browser: Browser, value: string, path = '/') =>
    browser.jar.setCookie(`${cookieNames(world.origin).session}=${value}; Path=${path}`, world.origin + path);
  const sessionWith = async (cookie: string) => {
    const { text } = await sendRequest(world.origin, 'GET', '/auth/session', { cookie });
    return JSON.parse(text) as { authenticated: boolean; user?: { sub: string } };
  };

  test.each(forged)('is replaced at login and never becomes valid: %s', async (_how, value) => {
    const own = await readSession(attacker);
    const planted = value(own.id, decodeURIComponent(own.value).slice('s:'.length));
    const victim = world.browser();
    await plant(victim, planted);
    expect(await victim.sessionCookie()).toBe(planted); // otherwise this tests nothing

    const before = await sessionWith(`${cookieNames(world.origin).session}=${planted}`);
    const page = await world.signIn(victim);
    expect(page.status).toBe(200);

    const fresh = await readSession(victim);
    expect(fresh.value).not.toBe(planted);
    expect([neverIssued, own.id, '']).not.toContain(fresh.id);
    expect((await readRecord(world, fresh.id))?.user.sub).toBe('alice');
    for (const id of [planted, neverIssued, ''])
      expect((await readRecord(world, id))?.user.sub).not.toBe('alice');
    expect(before).toEqual({ authenticated: false });
    expect(await sessionWith(`${cookieNames(world.origin).session}=${planted}`)).toEqual({
      authenticated: false,
    });
    expect((await readRecord(world, own.id))?.user.sub).toBe('bob'); // a forged cookie ends no session
  });

  test("ends the attacker's session if it is valid, and the user gets a new session", async () => {
    const own = await readSession(attacker);
    const victim = world.browser();
    await plant(victim, own.value);
    await world.signIn(victim);

    const fresh = await readSession(victim);
    expect(fresh.id).not.toBe(own.id);
    expect((await sessionWith(fresh.cookie)).user?.sub).toBe('alice');
    expect(await sessionWith(own.cookie)).toEqual({ authenticated: false });
    expect((await attacker.fetch('/api/profile')).status).toBe(401);
    expect(await readRecord(world, own.id)).toBeUndefined();
  });

  test('does not restore a session that the attacker has signed out of', async () => {
    const own = await readSession(attacker);
    await attacker.fetch('/auth/logout', { method: 'POST' });
    const victim = world.browser();
    await plant(victim, own.value);
    await world.signIn(victim);
    expect((await readSession(victim)).id).not.toBe(own.id);
    expect(await sessionWith(own.cookie)).toEqual({ authenticated: false });
    expect(await readRecord(world, own.id)).toBeUndefined();
  });

  test.each([['/auth'], ['/auth/callback'], ['/auth/login']])(
    "does not replace the user's session when it is sent as a second cookie with the path %s",
    async (path) => {
      const own = await readSession(attacker);
      const victim = world.browser();
      await plant(victim, own.value, path);
      await world.signIn(victim);
      const fresh = await readSession(victim); // the cookie with the path /
      expect(fresh.id).not.toBe(own.id);
      expect((await sessionWith(fresh.cookie)).user?.sub).toBe('alice');
      expect((await sessionWith(own.cookie)).user?.sub).not.toBe('alice');
    },
  );

  test('cannot be assembled from several cookies of the same name', async () => {
    const own = await readSession(attacker);
    const [id, signature] = decodeURIComponent(own.value).slice(2).split('.');
    const { session: name, login } = cookieNames(world.origin);
    const cookies = [
      `${name}=s%3A${id}; ${name}=.${signature}`,
      `${name}=s%3A; ${name}=${id}.${signature}`,
      `${name}=s%3A${neverIssued}.${signature}; ${name}=s%3A${id}.x`,
      `${name}; ${name}=s%3A${id}`,
      `${name.replace('l', 'L')}=${own.value}`,
      ` ${name}[]=${own.value}`,
      `${login}=${own.value}`,
      `${name}.sid=${own.value}; connect.sid=${own.value}`,
    ];
    for (const cookie of cookies)
      expect([cookie, await sessionWith(cookie)]).toEqual([cookie, { authenticated: false }]);
  });

  test('is never reused: every login creates a new session id, also in a signed-in browser', async () => {
    const browser = world.browser();
    const ids = new Set<string>();
    for (let login = 0; login < 5; login += 1) {
      await world.signIn(browser);
      ids.add((await readSession(browser)).id);
    }
    expect(ids.size).toBe(5);
    const active = await Promise.all([...ids].map(async (id) => (await readRecord(world, id)) !== undefined));
    expect(active.filter(Boolean)).toHaveLength(1);
  });

  test('cannot be that of a future session: session ids are long, random and issued only at login', async () => {
    const browser = world.browser();
    for (const path of [
      '/',
      '/auth/sign-in',
      '/profile',
      '/auth/session',
      '/auth/login',
      '/auth/callback',
      '/api/profile',
    ])
      await browser.step(path);
    expect(await browser.sessionCookie()).toBeUndefined();
    const { value } = await readSession(attacker);
    expect(parseSessionId(value)).toMatch(/^[\w-]{32,}$/); // 24 bytes or more
  });
});
