import { sign } from 'cookie-signature';
import type { Browser } from '../support/browser.ts';
import { sessionSecret } from '../support/latchkey.ts';
import { createWorld, type World } from '../support/world.ts';
import { parseSessionId, readRecord, readSession } from './support/logged-in.ts';
import { sendRequest } from './support/wire.ts';

const otherSecret = 'another-secret-that-is-long-enough-too';
const neverIssued = 'AttackerChoseThisSessionIdItself';
const signed = (id: string, secret: string) => encodeURIComponent(`s:${sign(id, secret)}`);

/** Values an attacker can make up without our secret; `id` is a session the attacker has of their own. */
const forged: readonly [how: string, value: (id: string) => string][] = [
  ['an id nobody issued, unsigned', () => neverIssued],
  ['an id nobody issued, as if it were signed', () => `s%3A${neverIssued}`],
  ['an id nobody issued with an empty signature', () => `s%3A${neverIssued}.`],
  ['an id nobody issued with a made-up signature', () => `s%3A${neverIssued}.${'A'.repeat(43)}`],
  ['an id nobody issued, signed with another secret', () => signed(neverIssued, otherSecret)],
  ['an id nobody issued, signed with an empty secret', () => signed(neverIssued, ' ')],
  ['an id of the attacker, unsigned', (id) => id],
  ['an id of the attacker, as if it were signed', (id) => `s%3A${id}`],
  ['an id of the attacker, signed with another secret', (id) => signed(id, otherSecret)],
  ['an id of the attacker without the s: before it', (id) => sign(id, sessionSecret)],
  ['an id of the attacker with S: before it', (id) => `S%3A${sign(id, sessionSecret)}`],
  ['an id of the attacker with s:s: before it', (id) => `s%3As%3A${sign(id, sessionSecret)}`],
  ['an id of the attacker with j: before it', (id) => `j%3A${encodeURIComponent(JSON.stringify({ id }))}`],
  ['an id of the attacker and a cut signature', (id) => signed(id, sessionSecret).slice(0, -1)],
  ['an id of the attacker and a longer signature', (id) => `${signed(id, sessionSecret)}A`],
  ['an id of the attacker in quotes, its signature broken', (id) => `"${signed(id, otherSecret)}"`],
  ['a signature for an empty id, made elsewhere', () => signed('', otherSecret)],
  ['the name of a property every object has', () => '__proto__'],
  ['a key of another kind in Redis', (id) => `s%3A..%2F${id}%3Atokens.x`],
  ['a value that does not decode', () => 's%3A%E0%A4%A'],
  ['nothing at all', () => ''],
  ['a huge value', () => `s%3A${'A'.repeat(8_000)}.${'B'.repeat(43)}`],
];

describe('a session cookie planted in the browser of someone about to sign in', () => {
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
    browser.jar.setCookie(`latchkey=${value}; Path=${path}`, world.origin + path);
  const sessionWith = async (cookie: string) => {
    const { text } = await sendRequest(world.origin, 'GET', '/auth/session', { cookie });
    return JSON.parse(text) as { authenticated: boolean; user?: { sub: string } };
  };

  test.each(forged)('never becomes a login: %s', async (_how, value) => {
    const own = await readSession(attacker);
    const planted = value(own.id);
    const victim = world.browser();
    await plant(victim, planted);
    expect(await victim.cookie('latchkey')).toBe(planted); // or nothing is tested here

    const before = await sessionWith(`latchkey=${planted}`);
    const landed = await world.signIn(victim);
    expect(landed.status).toBe(200);

    const fresh = await readSession(victim);
    expect(fresh.value).not.toBe(planted);
    expect([neverIssued, own.id, '']).not.toContain(fresh.id);
    expect((await readRecord(world, fresh.id))?.user.sub).toBe('alice');
    for (const id of [planted, neverIssued, ''])
      expect((await readRecord(world, id))?.user.sub).not.toBe('alice');
    expect(before).toEqual({ authenticated: false });
    expect(await sessionWith(`latchkey=${planted}`)).toEqual({ authenticated: false });
    expect((await readRecord(world, own.id))?.user.sub).toBe('bob'); // untouched: the cookie did not prove it
  });

  test('never becomes the login of its owner: a live session of the attacker ends, and hers is another', async () => {
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

  test('never comes alive again: a session of the attacker that was signed out', async () => {
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
    'never becomes hers when it stands beside her own: a second cookie for %s',
    async (path) => {
      const own = await readSession(attacker);
      const victim = world.browser();
      await plant(victim, own.value, path);
      await world.signIn(victim);
      const fresh = await readSession(victim); // the one for every path
      expect(fresh.id).not.toBe(own.id);
      expect((await sessionWith(fresh.cookie)).user?.sub).toBe('alice');
      expect((await sessionWith(own.cookie)).user?.sub).not.toBe('alice');
    },
  );

  test('several cookies of the same name never add up to a login', async () => {
    const own = await readSession(attacker);
    const [id, signature] = decodeURIComponent(own.value).slice(2).split('.');
    const crumbs = [
      `latchkey=s%3A${id}; latchkey=.${signature}`,
      `latchkey=s%3A; latchkey=${id}.${signature}`,
      `latchkey=s%3A${neverIssued}.${signature}; latchkey=s%3A${id}.x`,
      `latchkey; latchkey=s%3A${id}`,
      `Latchkey=${own.value}`,
      ` latchkey[]=${own.value}`,
      `latchkey-login=${own.value}`,
      `latchkey.sid=${own.value}; connect.sid=${own.value}`,
    ];
    for (const cookie of crumbs)
      expect([cookie, await sessionWith(cookie)]).toEqual([cookie, { authenticated: false }]);
  });

  test('a new login gets a new id each time, also in the browser that is signed in already', async () => {
    const browser = world.browser();
    const ids = new Set<string>();
    for (let login = 0; login < 5; login += 1) {
      await world.signIn(browser);
      ids.add((await readSession(browser)).id);
    }
    expect(ids.size).toBe(5);
    const alive = await Promise.all([...ids].map(async (id) => (await readRecord(world, id)) !== undefined));
    expect(alive.filter(Boolean)).toHaveLength(1);
  });

  test('a session id is long and random, and nobody gets one before signing in', async () => {
    const visitor = world.browser();
    for (const path of [
      '/',
      '/login',
      '/profile',
      '/auth/session',
      '/auth/login',
      '/auth/callback',
      '/api/profile',
    ])
      await visitor.step(path);
    expect(await visitor.cookie('latchkey')).toBeUndefined();
    const { value } = await readSession(attacker);
    expect(parseSessionId(value)).toMatch(/^[\w-]{32,}$/); // 24 bytes or more
  });
});
