import { createWorld, type World } from '../support/world.ts';
import { readRecord, readSession } from './support/logged-in.ts';
import { sendRequest } from './support/wire.ts';

const listed = ['https://spa.example.com', 'http://localhost:5173'];
const listedOrigin = listed[0]!;
const lookAlikes = [
  'null',
  '',
  '*',
  'https://evil.example',
  'http://spa.example.com',
  'https://spa.example.com:8443',
  'https://spa.example.com/',
  'https://SPA.example.com',
  'https://spa.example.com.evil.example',
  'https://x.spa.example.com',
  'https://evil.example, https://spa.example.com',
  'https://spa.example.com, https://spa.example.com',
  'https://spa.example.com,http://localhost:5173',
  'http://localhost:51730',
  'http://localhost',
  'http://127.0.0.1:5173',
];
const apiPaths = ['/api/profile', '/api/data', '/api/data?x=1', '/api/unknown', '/api/', '/api'];
const authPaths = ['/auth/session', '/auth/refresh', '/auth/logout'];
const otherPaths = [
  '/',
  '/login',
  '/profile',
  '/auth/login',
  '/auth/callback',
  '/assets/style.css',
  '/unknown',
];

const ofCors = (headers: object) => Object.keys(headers).filter((each) => each.startsWith('access-control-'));
const varies = (headers: { vary?: string | undefined }) => (headers.vary ?? '').toLowerCase().split(/, */);

describe('with other origins in CORS_ORIGINS', () => {
  let world: World;
  let person: { id: string; cookie: string };
  beforeAll(async () => {
    world = await createWorld({ env: { CORS_ORIGINS: listed.join(',') } });
  });
  afterAll(() => world.close());
  beforeEach(async () => {
    const browser = world.browser();
    await world.signIn(browser);
    person = await readSession(browser);
  });

  /** A script's request from a page of `origin`, as a browser sends it. */
  const script = (origin: string | undefined, method: string, path: string, headers = {}) =>
    sendRequest(world.origin, method, path, {
      accept: 'application/json',
      'sec-fetch-mode': 'cors',
      'sec-fetch-site': 'same-site',
      cookie: person.cookie,
      ...(origin !== undefined && { origin }),
      ...headers,
    });
  const preflight = (origin: string, path: string) =>
    sendRequest(world.origin, 'OPTIONS', path, {
      origin,
      'sec-fetch-mode': 'cors',
      'sec-fetch-site': 'same-site',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'content-type,x-own',
    });

  test.each(listed.flatMap((origin) => [...apiPaths, ...authPaths].map((path) => [origin, path] as const)))(
    'the preflight of %s for %s is answered, and asks nobody',
    async (origin, path) => {
      const askedApi = world.apiFaults.requests.length;
      const { status, headers, text } = await preflight(origin, path);
      expect([status, text]).toEqual([204, '']);
      expect(headers).toMatchObject({
        'access-control-allow-origin': origin,
        'access-control-allow-credentials': 'true',
        'access-control-allow-methods': expect.stringContaining('POST'),
        'access-control-allow-headers': 'content-type,x-own',
        'access-control-max-age': '600',
      });
      expect(varies(headers)).toContain('origin');
      expect(headers['set-cookie']).toBeUndefined();
      expect(world.apiFaults.requests.length).toBe(askedApi);
    },
  );

  test('their scripts read answers of the API, and the headers that matter to them', async () => {
    for (const origin of listed)
      for (const site of ['same-site', 'cross-site', undefined]) {
        const fetchSite = site === undefined ? {} : { 'sec-fetch-site': site };
        const answer = await sendRequest(world.origin, 'GET', '/api/data', {
          origin,
          cookie: person.cookie,
          ...fetchSite,
        });
        expect(answer.status).toBe(200);
        expect(answer.headers['access-control-allow-origin']).toBe(origin);
        expect(answer.headers['access-control-allow-credentials']).toBe('true');
        expect(answer.headers['access-control-expose-headers']).toMatch(
          /Retry-After.*RateLimit.*X-Request-Id.*ETag/,
        );
        expect(varies(answer.headers)).toEqual(expect.arrayContaining(['origin', 'cookie']));
      }
    const sent = await sendRequest(world.origin, 'OPTIONS', '/api/data', {
      origin: listedOrigin,
      cookie: person.cookie,
    });
    expect([sent.status, sent.headers.allow]).toEqual([204, 'GET, HEAD, POST, OPTIONS']); // no preflight: it asks for no method
  });

  test('their scripts know who is signed in, renew and sign out', async () => {
    const session = await script(listedOrigin, 'GET', '/auth/session');
    expect(JSON.parse(session.text)).toMatchObject({ authenticated: true });
    expect((await script(listedOrigin, 'POST', '/auth/refresh')).status).toBe(200);
    const out = await script(listedOrigin, 'POST', '/auth/logout');
    expect([out.status, out.headers['access-control-allow-origin']]).toEqual([204, listedOrigin]);
    expect(await readRecord(world, person.id)).toBeUndefined();
  });

  test('failures are readable too, and their login link leads back there', async () => {
    const referer = `${listedOrigin}/`;
    const refused = await script(listedOrigin, 'GET', '/api/data', { cookie: '', referer });
    expect([refused.status, refused.headers['access-control-allow-origin']]).toEqual([401, listedOrigin]);
    const { login_url } = JSON.parse(refused.text);
    expect(new URL(login_url).searchParams.get('return_to')).toBe(referer);
  });

  test('a sign-in can begin there, and leads back to the very page', async () => {
    const wanted = `${listedOrigin}/orders?page=2`;
    const search = new URLSearchParams({ return_to: wanted });
    const { text } = await world.browser().go(`/login?${search}`);
    expect(text).toContain(`href="/auth/login?${search}"`);

    const browser = world.browser();
    await world.signIn(browser);
    for (const path of ['/login', '/auth/login']) {
      const until = (url: string) => url.startsWith(listedOrigin); // nobody is at home there
      expect((await browser.go(`${path}?${search}`, { from: wanted, until })).url).toBe(wanted);
    }
  });

  test.each(lookAlikes)('%p gets no header of CORS, and is refused as ever', async (origin) => {
    const before = await readRecord(world, person.id);
    for (const path of [...apiPaths, ...authPaths]) {
      const asked = await preflight(origin, path);
      expect([path, asked.status === 204, ofCors(asked.headers)]).toEqual([path, false, []]);
      for (const site of ['same-site', 'cross-site', undefined])
        for (const method of ['GET', 'POST']) {
          const fetchSite = { 'sec-fetch-site': site ?? '' };
          const answer = await script(origin, method, path, site === undefined ? {} : fetchSite);
          expect(ofCors(answer.headers)).toEqual([]);
          const isRefused = method === 'POST' || path.startsWith('/api');
          if (isRefused) expect([path, method, answer.status]).toEqual([path, method, 403]);
        }
    }
    expect(await readRecord(world, person.id)).toEqual(before);
  });

  test('a request of their site that does not say which origin it is from is refused', async () => {
    for (const path of apiPaths)
      expect([path, (await script(undefined, 'GET', path)).status]).toEqual([path, 403]);
    for (const path of ['/auth/refresh', '/auth/logout'])
      expect([path, (await script(undefined, 'POST', path)).status]).toEqual([path, 403]);
    expect(await readRecord(world, person.id)).toBeDefined();
  });

  test('every answer below /api varies on Origin, whoever asks', async () => {
    const own = { cookie: person.cookie, 'sec-fetch-site': 'same-origin' };
    for (const path of apiPaths)
      for (const headers of [
        own,
        { ...own, cookie: '' },
        { origin: 'https://evil.example' },
        { origin: listedOrigin },
      ])
        for (const method of ['GET', 'HEAD', 'POST', 'DELETE']) {
          const answer = await sendRequest(world.origin, method, path, headers);
          expect([path, method, varies(answer.headers)]).toEqual([
            path,
            method,
            expect.arrayContaining(['origin', 'cookie']),
          ]);
        }
  });

  test('nothing else here can be read from there', async () => {
    for (const path of otherPaths)
      for (const method of ['GET', 'OPTIONS']) {
        const headers = {
          origin: listedOrigin,
          'access-control-request-method': 'GET',
          cookie: person.cookie,
        };
        expect([path, ofCors((await sendRequest(world.origin, method, path, headers)).headers)]).toEqual([
          path,
          [],
        ]);
      }
  });
});
