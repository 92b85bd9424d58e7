import request from 'supertest';
import { createWorld, type World } from '../support/world.ts';
import { readRecord, readSession } from './support/logged-in.ts';
import { sendRequest } from './support/raw-http.ts';

const readingMethods = ['GET', 'HEAD', 'OPTIONS'];
const changingMethods = ['POST', 'PUT', 'PATCH', 'DELETE', 'TRACE', 'QUERY', 'PROPFIND'];
const methods = [...readingMethods, ...changingMethods];

/** Only our own pages may send requests to these, with any method. */
const apiRoutes = ['/api/profile', '/api/data', '/api/data?x=1', '/api/unknown', '/api/', '/api'];
/** Other sites may link to these; only our own pages may send requests that change something. */
const authRoutes = ['/auth/login', '/auth/callback', '/auth/refresh', '/auth/logout', '/auth/session'];
/** These have nothing to change: methods that do not read get 404 or 405. */
const pageRoutes = ['/', '/auth/sign-in', '/profile', '/healthz', '/auth/assets/style.css', '/unknown'];

const absent = undefined;

/** `Sec-Fetch-Site`, and whether it allows the request; `Origin` is then ignored. */
const sites: readonly [site: string, isAllowed: boolean][] = [
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
function originCases(ours: string): readonly [origin: string | undefined, isAllowed: boolean][] {
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
  readonly isAllowed: boolean;
}

function createCells(ours: string): Cell[] {
  const origins = [ours, 'https://evil.example', 'null', absent];
  return [
    ...sites.flatMap(([site, isAllowed]) => origins.map((origin) => ({ site, origin, isAllowed }))),
    ...originCases(ours).map(([origin, isAllowed]) => ({ site: absent, origin, isAllowed })),
  ];
}

describe('requests caused by another site', () => {
  let world: World;
  let victim: { id: string; cookie: string };
  let cells: Cell[];
  beforeAll(async () => {
    world = await createWorld();
    const browser = world.browser();
    await world.signIn(browser);
    victim = await readSession(browser);
    cells = createCells(world.origin);
  });
  afterAll(() => world.close());

  /** Everything an attack could change, and the number of requests to the provider and the API. */
  const readState = async () => ({
    record: await readRecord(world, victim.id),
    providerRequests: world.providerFaults.requests.length,
    apiRequests: world.apiFaults.requests.length,
  });

  const headersOf = ({ site, origin }: Cell) => ({
    accept: 'application/json',
    ...(site !== undefined && { 'sec-fetch-site': site }),
    ...(origin !== undefined && { origin }),
  });

  /** The cells with a wrong response. Requests that should pass have no cookie, so that the session survives. */
  async function findWrongResponses(method: string, path: string, shouldReject: (cell: Cell) => boolean) {
    const checks = cells.map(async (cell) => {
      const mustReject = shouldReject(cell);
      const headers = { ...headersOf(cell), ...(mustReject && { cookie: victim.cookie }) };
      const {
        status,
        text,
        headers: responseHeaders,
      } = await sendRequest(world.origin, method, path, headers);
      const isRejection = status === 403 && (method === 'HEAD' || text.includes('"cross_site_request"'));
      const setsCookie = mustReject && responseHeaders['set-cookie'] !== undefined;
      return isRejection === mustReject && !setsCookie ? [] : [{ ...cell, status, mustReject, setsCookie }];
    });
    return (await Promise.all(checks)).flat();
  }

  test.each(apiRoutes.flatMap((path) => methods.map((method) => [method, path] as const)))(
    '%s %s is rejected and leaves the session unchanged',
    async (method, path) => {
      const before = await readState();
      expect(await findWrongResponses(method, path, ({ isAllowed }) => !isAllowed)).toEqual([]);
      expect(await readState()).toEqual(before);
      expect(before.record).toBeDefined();
    },
  );

  test.each(authRoutes.flatMap((path) => changingMethods.map((method) => [method, path] as const)))(
    '%s %s is rejected and leaves the session unchanged',
    async (method, path) => {
      const before = await readState();
      expect(await findWrongResponses(method, path, ({ isAllowed }) => !isAllowed)).toEqual([]);
      expect(await readState()).toEqual(before);
      expect(before.record).toBeDefined();
    },
  );

  test.each(
    [...authRoutes, ...pageRoutes].flatMap((path) => readingMethods.map((method) => [method, path] as const)),
  )('%s %s is not rejected as cross-site', async (method, path) => {
    expect(await findWrongResponses(method, path, () => false)).toEqual([]);
  });

  test.each(pageRoutes.flatMap((path) => changingMethods.map((method) => [method, path] as const)))(
    '%s %s changes nothing, whatever its origin',
    async (method, path) => {
      const before = await readState();
      for (const cell of cells) {
        const response = await sendRequest(world.origin, method, path, {
          ...headersOf(cell),
          cookie: victim.cookie,
        });
        expect([403, 404, 405]).toContain(response.status);
        expect(response.headers['set-cookie']).toBeUndefined();
      }
      expect(await readState()).toEqual(before);
    },
  );

  test.each([
    ['/auth/login', 303],
    ['/auth/callback', 400],
    ['/auth/logout', 303],
    ['/auth/session', 200],
    ['/', 200],
    ['/auth/sign-in', 200],
    ['/profile', 303],
    ['/healthz', 200],
  ])('a link on another site to %s returns %i', async (path, status) => {
    await request(world.origin)
      .get(path)
      .set({ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' })
      .expect(status);
  });

  test('a link on another site to the sign-out page does not end the session', async () => {
    await request(world.origin)
      .get('/auth/logout')
      .set({ cookie: victim.cookie, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' })
      .expect(200, /Sign out\?/);
    expect(await readRecord(world, victim.id)).toBeDefined();
  });

  test('no response can be read by pages of another site', async () => {
    for (const path of [...apiRoutes, ...authRoutes, ...pageRoutes]) {
      const headers = { origin: 'https://evil.example', 'access-control-request-method': 'GET' };
      for (const method of ['GET', 'OPTIONS']) {
        const response = await sendRequest(world.origin, method, path, { ...headers, cookie: victim.cookie });
        expect(Object.keys(response.headers).filter((name) => name.startsWith('access-control-'))).toEqual(
          [],
        );
      }
    }
  });

  test('same-origin requests are accepted (control)', async () => {
    const sameOrigin = { cookie: victim.cookie, 'sec-fetch-site': 'same-origin', origin: world.origin };
    expect((await sendRequest(world.origin, 'GET', '/api/profile', sameOrigin)).status).toBe(200);
    const json = { ...sameOrigin, accept: 'application/json' };
    expect((await sendRequest(world.origin, 'POST', '/auth/refresh', json)).status).toBe(200);
    expect((await sendRequest(world.origin, 'POST', '/auth/logout', sameOrigin)).status).toBe(200);
    expect(await readRecord(world, victim.id)).toBeUndefined();
  });
});
