import { safeReturnTo } from '../../src/login/return-url.ts';
import type { Page } from '../support/browser.ts';
import { createWorld, type World } from '../support/world.ts';
import { circular, findDanger, redirectPayloads, redirectSample } from './support/redirect-payloads.ts';

const origins = [
  'http://localhost:3000',
  'https://app.example.com',
  'https://app.example.com:8443',
  'http://[::1]:3000',
  'https://xn--bcher-kva.example',
];

describe.each(origins)('the return URL on the origin %s', (origin) => {
  test('stays on our own origin for every payload', () => {
    const payloads = redirectPayloads(origin);
    expect(payloads.length).toBeGreaterThan(1_000);
    const dangers = payloads.flatMap((payload) => {
      const danger = findDanger(safeReturnTo(payload, origin), origin);
      return danger === undefined ? [] : [{ payload, danger }];
    });
    expect(dangers).toEqual([]);
  });

  test.each([
    [['/profile', '/data']],
    [[]],
    [{}],
    [{ toString: () => '//evil.example' }],
    [['//evil.example']],
    [new String('//evil.example')],
    [new URL('https://evil.example')],
    [undefined],
    [null],
    [42],
    [true],
    [() => '//evil.example'],
  ])('is the default page for %p', (payload) => {
    expect(safeReturnTo(payload, origin)).toBe(`${origin}/profile`);
  });

  test.each([
    ['/', '/'],
    ['/profile', '/profile'],
    ['/data?a=1&b=//evil.example', '/data?a=1&b=//evil.example'],
    ['/data#part', '/data#part'],
    ['/a/../data', '/data'],
    ['data', '/data'],
    [`${origin}/data?x=y`, '/data?x=y'],
    ['/żółw', '/%C5%BC%C3%B3%C5%82w'],
    ['/authors', '/authors'],
    ['/login', '/login'],
    ['/auth-help', '/auth-help'],
    ['/auth/resume/a_Z-9?x=y#z', '/auth/resume/a_Z-9?x=y#z'],
  ])('resolves %p to %p on our own origin', (requested, expected) => {
    expect(safeReturnTo(requested, origin)).toBe(origin + expected);
  });
});

describe('the return URL with other origins listed', () => {
  const origin = 'https://app.example.com';
  const listed = 'https://spa.example.com';
  const alsoListed = 'http://localhost:5173';

  test.each([
    [`${listed}/`, `${listed}/`],
    [listed, `${listed}/`],
    [`${listed}/orders?page=2#last`, `${listed}/orders?page=2#last`],
    [`${listed}/login`, `${listed}/login`],
    [`${listed}/a/../b`, `${listed}/b`],
    [`//spa.example.com/x`, `${listed}/x`],
    [`HTTPS://SPA.example.com:443/x`, `${listed}/x`],
    [`${alsoListed}/#/orders`, `${alsoListed}/#/orders`],
    ['/data', `${origin}/data`],
    [`${origin}/data`, `${origin}/data`],
  ])('resolves %s to %s', (requested, expected) => {
    expect(safeReturnTo(requested, origin, [listed, alsoListed])).toBe(expected);
  });

  test.each([
    'http://spa.example.com/',
    'https://spa.example.com:8443/',
    'https://spa.example.com.evil.example/',
    'https://spa.example.com@evil.example/',
    'https://me@spa.example.com/',
    'https://me:pw@spa.example.com/',
    'https://evil.example/https://spa.example.com/',
    'https://evil.example#https://spa.example.com/',
    'https://evil.example?https://spa.example.com/',
    'https://evil.example\\@spa.example.com/',
    'https://x.spa.example.com/',
    'https://xspa.example.com/',
    'https://spa.example.com./',
    'https://spa.example.co/',
    'https://spa\u3002example\u3002com.evil.example/',
    'blob:https://spa.example.com/5a3b',
    'filesystem:https://spa.example.com/x',
    'view-source:https://spa.example.com/',
    'javascript://spa.example.com/%0aalert(1)',
    'http://localhost/',
    'http://localhost:51730/',
    'https://localhost:5173/',
    'http://127.0.0.1:5173/',
    `https://spa.example.com/${'x'.repeat(2_048)}`,
  ])('is the default page for the look-alike %s', (requested) => {
    expect(safeReturnTo(requested, origin, [listed, alsoListed])).toBe(`${origin}/profile`);
  });

  test('stays on our own or the listed origin for every payload', () => {
    const payloads = [...redirectPayloads(origin), ...redirectPayloads(listed)];
    const dangers = payloads.flatMap((payload) => {
      const resolved = safeReturnTo(payload, origin, [listed]);
      const isListed = resolved.startsWith(`${listed}/`) && new URL(resolved).origin === listed;
      return isListed || findDanger(resolved, origin) === undefined ? [] : [{ payload, resolved }];
    });
    expect(dangers).toEqual([]);
  });
});

describe('the return URL of a login', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
  });
  afterAll(() => world.close());

  const query = (payload: string) => new URLSearchParams({ return_to: payload });
  const dangerIn = ({ headers, url }: Page) => findDanger(headers.location ?? '', world.origin, url);

  test('stays on our own origin in the Location of the callback, for every kind of payload', async () => {
    const browser = world.browser();
    await world.signIn(browser); // from now on the provider redirects without user interaction
    const payloads = redirectSample(world.origin);
    expect(payloads.length).toBeGreaterThan(150);
    const dangers: unknown[] = [];
    for (const payload of payloads) {
      const atCallback = await browser.go(`/auth/login?${query(payload)}`, {
        until: (url) => url.startsWith(`${world.origin}/auth/callback`),
      });
      const page = await browser.step(atCallback.url, { from: world.provider.issuer });
      const danger = page.status === 303 ? dangerIn(page) : `status ${page.status}`;
      if (danger !== undefined) dangers.push({ payload, danger, location: page.headers.location });
    }
    expect(dangers).toEqual([]);
  }, 60_000);

  test('stays on our own origin when the sign-in page redirects a signed-in user', async () => {
    const browser = world.browser();
    await world.signIn(browser);
    const dangers: unknown[] = [];
    for (const payload of redirectSample(world.origin)) {
      const page = await browser.step(`/auth/sign-in?${query(payload)}`);
      const danger = page.status === 303 ? dangerIn(page) : `status ${page.status}`;
      if (danger !== undefined) dangers.push({ payload, danger, location: page.headers.location });
    }
    expect(dangers).toEqual([]);
  });

  test('stays on our own origin in the link of the sign-in page, and cannot escape its attribute', async () => {
    const payloads = [
      ...redirectSample(world.origin),
      '/"><script>alert(1)</script>',
      "/'onclick='x",
      '/<b>',
    ];
    const dangers: unknown[] = [];
    for (const payload of payloads) {
      const { status, text } = await world.browser().step(`/auth/sign-in?${query(payload)}`);
      const links = [...text.matchAll(/href="([^"]*)"/g)].map(([, href]) => href!.replaceAll('&amp;', '&'));
      const link = links.filter((each) => each.includes('return_to'));
      const requested = new URL(link[0] ?? 'x:', world.origin).searchParams.get('return_to');
      const danger = findDanger(safeReturnTo(requested, world.origin), world.origin);
      const isOneLink = status === 200 && link.length === 1 && link[0]!.startsWith('/auth/login?return_to=');
      if (!isOneLink || danger !== undefined || /<script>|onclick=|<b>/.test(text))
        dangers.push({ payload, status, link, danger });
    }
    expect(dangers).toEqual([]);
  });

  test.each([
    ['return_to=//evil.example&return_to=/data', '/profile'],
    ['return_to=/data&return_to=//evil.example', '/profile'],
    ['return_to=/data&return_to=/data&return_to=/data', '/profile'],
    ['return_to[]=//evil.example', '/profile'],
    ['return_to[href]=//evil.example', '/profile'],
    ['return_to[]=//evil.example&return_to=/data', '/data'],
    ['return_to', '/'],
    ['Return_To=//evil.example', '/profile'],
    ['x=return_to=//evil.example', '/profile'],
    ['return_to=//evil.example%26return_to%3D/data', '/profile'],
    ['return_to=/data%26return_to%3D//evil.example', '/data&return_to=//evil.example'],
    ['__proto__[return_to]=//evil.example', '/profile'],
  ])('for the query %s is %s', async (search, expected) => {
    const browser = world.browser();
    await world.signIn(browser, 'alice', `/auth/login?${search}`);
    const callback = browser.exchanges.findLast(({ url }) => url.includes('/auth/callback'))!;
    expect(callback.response).toContain(`"location":"${world.origin}${expected}"`);
  });

  test.each(circular.slice(0, 15).map((each) => [each]))(
    'does not cause a redirect loop for %s',
    async (payload) => {
      const browser = world.browser();
      const requested = payload.replaceAll('O', world.origin);
      const page = await world.signIn(browser, 'alice', `/auth/login?${query(requested)}`);
      expect(page.url).toBe(`${world.origin}/profile`);
      expect(page.status).toBe(200);
    },
  );

  test('is used when it is on our own origin', async () => {
    const page = await world.signIn(world.browser(), 'alice', `/auth/login?${query('/profile?tab=2')}`);
    expect(page.url).toBe(`${world.origin}/profile?tab=2`);
  });
});
