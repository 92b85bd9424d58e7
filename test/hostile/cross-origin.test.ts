import { createWorld, type World } from '../support/world.ts';
import { readRecord, readSession } from './support/logged-in.ts';
import { sendRequest } from './support/raw-http.ts';

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
  '/auth/sign-in',
  '/profile',
  '/auth/login',
  '/auth/callback',
  '/auth/assets/style.css',
  '/unknown',
];

const corsHeaderNames = (headers: object) =>
  Object.keys(headers).filter((each) => each.startsWith('access-control-'));
const readVary = (headers: { vary?: string | undefined }) => (headers.vary ?? '').toLowerCase().split(/, */);

describe('with CORS_ORIGINS set', () => {
  let world: World;
  let session: { id: string; cookie: string };
  beforeAll(async () => {
    world = await createWorld({ env: { CORS_ORIGINS: listed.join(',') } });
  });
  afterAll(() => world.close());
  beforeEach(async () => {
    const browser = world.browser();
    await world.signIn(browser);
    session = await readSession(browser);
  });

  /** A request of a script on a page of `origin`, as a browser sends it. */
  const fetchFrom = (origin: string | undefined, method: string, path: string, headers = {}) =>
    sendRequest(world.origin, method, path, {
      accept: 'application/json',
      'sec-fetch-mode': 'cors',
      'sec-fetch-site': 'same-site',
      cookie: session.cookie,
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
    'a preflight from %s for %s succeeds without calling the API',
    async (origin, path) => {
      const requestsBefore = world.apiFaults.requests.length;
      const { status, headers, text } = await preflight(origin, path);
      expect([status, text]).toEqual([204, '']);
      expect(headers).toMatchObject({
        'access-control-allow-origin': origin,
        'access-control-allow-credentials': 'true',
        'access-control-allow-methods': expect.stringContaining('POST'),
        'access-control-allow-headers': 'content-type,x-own',
        'access-control-max-age': '600',
      });
      expect(readVary(headers)).toContain('origin');
      expect(headers['set-cookie']).toBeUndefined();
      expect(world.apiFaults.requests.length).toBe(requestsBefore);
    },
  );

  test('scripts of a listed origin can read API responses and the exposed headers', async () => {
    for (const origin of listed)
      for (const site of ['same-site', 'cross-site', undefined]) {
        const fetchSite = site === undefined ? {} : { 'sec-fetch-site': site };
        const response = await sendRequest(world.origin, 'GET', '/api/data', {
          origin,
          cookie: session.cookie,
          ...fetchSite,
        });
        expect(response.status).toBe(200);
        expect(response.headers['access-control-allow-origin']).toBe(origin);
        expect(response.headers['access-control-allow-credentials']).toBe('true');
        expect(response.headers['access-control-expose-headers']).toMatch(
          /Retry-After.*RateLimit.*X-Request-Id.*ETag.*Latchkey-Error/,
        );
        expect(readVary(response.headers)).toEqual(expect.arrayContaining(['origin', 'cookie']));
      }
    const options = await sendRequest(world.origin, 'OPTIONS', '/api/data', {
      origin: listedOrigin,
      cookie: session.cookie,
    });
    expect([options.status, options.headers.allow]).toEqual([204, 'GET, HEAD, POST, OPTIONS']); // not a preflight
  });

  test('scripts of a listed origin can read the headers that the API exposes', async () => {
    const exposed = async (value: string | string[], headers = {}) => {
      world.apiFaults.set({
        response: {
          status: 200,
          headers: {
            'x-total-count': '319',
            'x-other': 'a',
            etag: '"e"',
            'access-control-expose-headers': value,
          },
          body: '{}',
        },
      });
      const response = await fetchFrom(listedOrigin, 'GET', '/api/data', headers);
      expect(response.headers['x-total-count']).toBe('319');
      return response.headers['access-control-expose-headers']?.split(/, */);
    };
    try {
      const own = ['Retry-After', 'Location', 'Link'];
      const named = await exposed('X-Total-Count, Set-Cookie, ETag, X-Missing');
      expect(named).toEqual(expect.arrayContaining([...own, 'x-total-count']));
      expect(named?.filter((name) => /cookie|missing|other|etag/i.test(name))).toEqual(['ETag']);
      expect(await exposed(['X-Total-Count', 'X-Other'])).toEqual(
        expect.arrayContaining([...own, 'x-total-count', 'x-other']),
      );
      expect(await exposed('*')).toEqual(expect.arrayContaining([...own, 'x-total-count', 'x-other']));
      expect(
        await exposed('X-Total-Count', { origin: world.origin, 'sec-fetch-site': 'same-origin' }),
      ).toBeUndefined();
    } finally {
      world.apiFaults.set(undefined);
    }
  });

  test('scripts of a listed origin can read the session, refresh it and sign out', async () => {
    const info = await fetchFrom(listedOrigin, 'GET', '/auth/session');
    expect(JSON.parse(info.text)).toMatchObject({ authenticated: true });
    expect((await fetchFrom(listedOrigin, 'POST', '/auth/refresh')).status).toBe(200);
    const out = await fetchFrom(listedOrigin, 'POST', '/auth/logout');
    expect([out.status, out.headers['access-control-allow-origin']]).toEqual([204, listedOrigin]);
    expect(await readRecord(world, session.id)).toBeUndefined();
  });

  test('scripts of a listed origin can read errors, and the login link returns to their page', async () => {
    const referer = `${listedOrigin}/`;
    const error = await fetchFrom(listedOrigin, 'GET', '/api/data', { cookie: '', referer });
    expect([error.status, error.headers['access-control-allow-origin']]).toEqual([401, listedOrigin]);
    const { login_url } = JSON.parse(error.text);
    expect(new URL(login_url).searchParams.get('return_to')).toBe(referer);
  });

  test('a login can start on a page of a listed origin, and returns to that page', async () => {
    const returnTo = `${listedOrigin}/orders?page=2`;
    const search = new URLSearchParams({ return_to: returnTo });
    const { text } = await world.browser().go(`/auth/sign-in?${search}`);
    expect(text).toContain(`href="/auth/login?${search}"`);

    const browser = world.browser();
    await world.signIn(browser);
    for (const path of ['/auth/sign-in', '/auth/login']) {
      const until = (url: string) => url.startsWith(listedOrigin); // no server runs there
      expect((await browser.go(`${path}?${search}`, { from: returnTo, until })).url).toBe(returnTo);
    }
  });

  test.each(lookAlikes)(
    'the unlisted origin %p gets no CORS headers, and its requests are rejected',
    async (origin) => {
      const before = await readRecord(world, session.id);
      for (const path of [...apiPaths, ...authPaths]) {
        const allowed = await preflight(origin, path);
        expect([path, allowed.status === 204, corsHeaderNames(allowed.headers)]).toEqual([path, false, []]);
        for (const site of ['same-site', 'cross-site', undefined])
          for (const method of ['GET', 'POST']) {
            const fetchSite = { 'sec-fetch-site': site ?? '' };
            const response = await fetchFrom(origin, method, path, site === undefined ? {} : fetchSite);
            expect(corsHeaderNames(response.headers)).toEqual([]);
            const mustReject = method === 'POST' || path.startsWith('/api');
            if (mustReject) expect([path, method, response.status]).toEqual([path, method, 403]);
          }
      }
      expect(await readRecord(world, session.id)).toEqual(before);
    },
  );

  test('a same-site request without an Origin header is rejected', async () => {
    for (const path of apiPaths)
      expect([path, (await fetchFrom(undefined, 'GET', path)).status]).toEqual([path, 403]);
    for (const path of ['/auth/refresh', '/auth/logout'])
      expect([path, (await fetchFrom(undefined, 'POST', path)).status]).toEqual([path, 403]);
    expect(await readRecord(world, session.id)).toBeDefined();
  });

  test('every response below /api varies on Origin and Cookie, for every caller', async () => {
    const sameOrigin = { cookie: session.cookie, 'sec-fetch-site': 'same-origin' };
    for (const path of apiPaths)
      for (const headers of [
        sameOrigin,
        { ...sameOrigin, cookie: '' },
        { origin: 'https://evil.example' },
        { origin: listedOrigin },
      ])
        for (const method of ['GET', 'HEAD', 'POST', 'DELETE']) {
          const response = await sendRequest(world.origin, method, path, headers);
          expect([path, method, readVary(response.headers)]).toEqual([
            path,
            method,
            expect.arrayContaining(['origin', 'cookie']),
          ]);
        }
  });

  test('no other path can be read from a listed origin', async () => {
    for (const path of otherPaths)
      for (const method of ['GET', 'OPTIONS']) {
        const headers = {
          origin: listedOrigin,
          'access-control-request-method': 'GET',
          cookie: session.cookie,
        };
        expect([
          path,
          corsHeaderNames((await sendRequest(world.origin, method, path, headers)).headers),
        ]).toEqual([path, []]);
      }
  });
});
