import { createWorld, type World } from '../support/world.ts';
import { readRecord, readSession } from './support/logged-in.ts';
import { sendRequest } from './support/wire.ts';

const readingMethods = ['GET', 'HEAD', 'OPTIONS'];
const changingMethods = ['POST', 'PUT', 'PATCH', 'DELETE', 'TRACE', 'QUERY', 'PROPFIND'];
const methods = [...readingMethods, ...changingMethods];

/** Whatever the method, only our own pages may ask. */
const apiRoutes = ['/api/profile', '/api/data', '/api/data?x=1', '/api/unknown', '/api/', '/api'];
/** Anybody may lead a person here; only our own pages may change something. */
const authRoutes = ['/auth/login', '/auth/callback', '/auth/refresh', '/auth/logout', '/auth/session'];
/** Nothing to change: what does not read is answered 404 or 405, whoever asks. */
const pageRoutes = ['/', '/login', '/profile', '/healthz', '/assets/style.css', '/unknown'];

const absent = undefined;

/** `Sec-Fetch-Site`, and whether it says "from here"; `Origin` then counts for nothing. */
const sites: readonly [site: string, isOurs: boolean][] = [
  ['same-origin', true],
  ['none', true],
  ['same-site', false],
  ['cross-site', false],
  ['garbage', false],
  ['', false],
  ['Same-Origin', false],
  ['same-origin, cross-site', false],
  ['none; same-origin', false],
];

/** `Origin` of a browser that sends no `Sec-Fetch-Site`. */
function originsAround(ours: string): readonly [origin: string | undefined, isOurs: boolean][] {
  const { host, hostname, port } = new URL(ours);
  return [
    [ours, true],
    [absent, true],
    ['null', false],
    ['', false],
    ['https://evil.example', false],
    [`${ours}.evil`, false],
    [`${ours}@evil.example`, false],
    [`http://evil.example#${ours}`, false],
    [`http://${hostname}.evil.example:${port}`, false],
    [`http://evil-${host}`, false],
    [`http://sub.${host}`, false],
    [`http://127.0.0.1:${port}`, false],
    [`http://${hostname}`, false],
    [`http://${hostname}:${Number(port) - 1}`, false],
    [`http://${hostname}:${port}0`, false],
    [`https://${host}`, false],
    [`${ours}/`, false],
    [`${ours}, ${ours}`, false],
    [`${ours} https://evil.example`, false],
    [ours.toUpperCase(), false],
    [host, false],
    ['file://', false],
  ];
}

interface Cell {
  readonly site: string | undefined;
  readonly origin: string | undefined;
  readonly isOurs: boolean;
}

function cellsAround(ours: string): Cell[] {
  const crossed = [ours, 'https://evil.example', 'null', absent];
  return [
    ...sites.flatMap(([site, isOurs]) => crossed.map((origin) => ({ site, origin, isOurs }))),
    ...originsAround(ours).map(([origin, isOurs]) => ({ site: absent, origin, isOurs })),
  ];
}

describe('requests that another site makes the browser send', () => {
  let world: World;
  let victim: { id: string; cookie: string };
  let cells: Cell[];
  beforeAll(async () => {
    world = await createWorld();
    const browser = world.browser();
    await world.signIn(browser);
    victim = await readSession(browser);
    cells = cellsAround(world.origin);
  });
  afterAll(() => world.close());

  /** Everything an attack could change; also what went out to the provider and the API. */
  const traces = async () => ({
    record: await readRecord(world, victim.id),
    askedProvider: world.providerFaults.requests.length,
    askedApi: world.apiFaults.requests.length,
  });

  const headersOf = ({ site, origin }: Cell) => ({
    accept: 'application/json',
    ...(site !== undefined && { 'sec-fetch-site': site }),
    ...(origin !== undefined && { origin }),
  });

  /** The cells that were not answered as they must be. A cell that may pass is asked by nobody, so that nothing ends. */
  async function wrongAnswers(method: string, path: string, isRefused: (cell: Cell) => boolean) {
    const answers = cells.map(async (cell) => {
      const refused = isRefused(cell);
      const headers = { ...headersOf(cell), ...(refused && { cookie: victim.cookie }) };
      const { status, text, headers: got } = await sendRequest(world.origin, method, path, headers);
      const isRefusal = status === 403 && (method === 'HEAD' || text.includes('"cross_site_request"'));
      const setsCookie = refused && got['set-cookie'] !== undefined;
      return isRefusal === refused && !setsCookie ? [] : [{ ...cell, status, refused, setsCookie }];
    });
    return (await Promise.all(answers)).flat();
  }

  test.each(apiRoutes.flatMap((path) => methods.map((method) => [method, path] as const)))(
    '%s %s is refused from elsewhere and leaves the login as it was',
    async (method, path) => {
      const before = await traces();
      expect(await wrongAnswers(method, path, ({ isOurs }) => !isOurs)).toEqual([]);
      expect(await traces()).toEqual(before);
      expect(before.record).toBeDefined();
    },
  );

  test.each(authRoutes.flatMap((path) => changingMethods.map((method) => [method, path] as const)))(
    '%s %s is refused from elsewhere and leaves the login as it was',
    async (method, path) => {
      const before = await traces();
      expect(await wrongAnswers(method, path, ({ isOurs }) => !isOurs)).toEqual([]);
      expect(await traces()).toEqual(before);
      expect(before.record).toBeDefined();
    },
  );

  test.each(
    [...authRoutes, ...pageRoutes].flatMap((path) => readingMethods.map((method) => [method, path] as const)),
  )('%s %s can be reached from elsewhere', async (method, path) => {
    expect(await wrongAnswers(method, path, () => false)).toEqual([]);
  });

  test.each(pageRoutes.flatMap((path) => changingMethods.map((method) => [method, path] as const)))(
    '%s %s has nothing to change, whoever asks',
    async (method, path) => {
      const before = await traces();
      for (const cell of cells) {
        const answer = await sendRequest(world.origin, method, path, {
          ...headersOf(cell),
          cookie: victim.cookie,
        });
        expect([403, 404, 405]).toContain(answer.status);
        expect(answer.headers['set-cookie']).toBeUndefined();
      }
      expect(await traces()).toEqual(before);
    },
  );

  test.each([
    ['GET', '/auth/login', 303],
    ['GET', '/auth/callback', 400],
    ['GET', '/auth/logout', 303],
    ['GET', '/auth/session', 200],
    ['GET', '/', 200],
    ['GET', '/login', 200],
    ['GET', '/profile', 303],
    ['GET', '/healthz', 200],
  ])('a link on another site to %s %s leads where it says', async (method, path, status) => {
    const headers = {
      'sec-fetch-site': 'cross-site',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document',
    };
    expect((await sendRequest(world.origin, method, path, headers)).status).toBe(status);
  });

  test('a link on another site to the sign-out page signs nobody out', async () => {
    const headers = { cookie: victim.cookie, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' };
    const { status, text } = await sendRequest(world.origin, 'GET', '/auth/logout', headers);
    expect([status, text.includes('Sign out?')]).toEqual([200, true]);
    expect(await readRecord(world, victim.id)).toBeDefined();
  });

  test('no answer lets the pages of another site read it', async () => {
    for (const path of [...apiRoutes, ...authRoutes, ...pageRoutes]) {
      const headers = { origin: 'https://evil.example', 'access-control-request-method': 'GET' };
      for (const method of ['GET', 'OPTIONS']) {
        const answer = await sendRequest(world.origin, method, path, { ...headers, cookie: victim.cookie });
        expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control-'))).toEqual([]);
      }
    }
  });

  test('our own page may do it all: the matrix is not a wall', async () => {
    const own = { cookie: victim.cookie, 'sec-fetch-site': 'same-origin', origin: world.origin };
    expect((await sendRequest(world.origin, 'GET', '/api/profile', own)).status).toBe(200);
    const json = { ...own, accept: 'application/json' };
    expect((await sendRequest(world.origin, 'POST', '/auth/refresh', json)).status).toBe(200);
    expect((await sendRequest(world.origin, 'POST', '/auth/logout', own)).status).toBe(303);
    expect(await readRecord(world, victim.id)).toBeUndefined();
  });
});
