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

describe.each(origins)('the return address on %s', (origin) => {
  test('is on our own origin, whatever was asked for', () => {
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
  ])('is the usual one when %p was asked for', (payload) => {
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
    ['/login-help', '/login-help'],
  ])('is %p when that was asked for, because it is ours', (wanted, expected) => {
    expect(safeReturnTo(wanted, origin)).toBe(origin + expected);
  });
});

describe('the return address when another origin is listed', () => {
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
  ])('may be there: %s', (wanted, expected) => {
    expect(safeReturnTo(wanted, origin, [listed, alsoListed])).toBe(expected);
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
  ])('is the usual one for its look-alike %s', (wanted) => {
    expect(safeReturnTo(wanted, origin, [listed, alsoListed])).toBe(`${origin}/profile`);
  });

  test('is on one of the two, whatever was asked for', () => {
    const payloads = [...redirectPayloads(origin), ...redirectPayloads(listed)];
    const dangers = payloads.flatMap((payload) => {
      const landed = safeReturnTo(payload, origin, [listed]);
      const isListed = landed.startsWith(`${listed}/`) && new URL(landed).origin === listed;
      return isListed || findDanger(landed, origin) === undefined ? [] : [{ payload, landed }];
    });
    expect(dangers).toEqual([]);
  });
});

describe('the return address through a sign-in', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
  });
  afterAll(() => world.close());

  const query = (payload: string) => new URLSearchParams({ return_to: payload });
  const dangerIn = ({ headers, url }: Page) => findDanger(headers.location ?? '', world.origin, url);

  test('is on our own origin in the Location of the callback, for every kind of attack', async () => {
    const browser = world.browser();
    await world.signIn(browser); // from here on the provider answers without asking
    const payloads = redirectSample(world.origin);
    expect(payloads.length).toBeGreaterThan(150);
    const dangers: unknown[] = [];
    for (const payload of payloads) {
      const atCallback = await browser.go(`/auth/login?${query(payload)}`, {
        until: (url) => url.startsWith(`${world.origin}/auth/callback`),
      });
      const page = await browser.step(atCallback.url, { from: world.provider.issuer });
      const danger = page.status === 303 ? dangerIn(page) : `answered ${page.status}`;
      if (danger !== undefined) dangers.push({ payload, danger, location: page.headers.location });
    }
    expect(dangers).toEqual([]);
  });

  test('is on our own origin when the sign-in page sends on someone who is signed in', async () => {
    const browser = world.browser();
    await world.signIn(browser);
    const dangers: unknown[] = [];
    for (const payload of redirectSample(world.origin)) {
      const page = await browser.step(`/login?${query(payload)}`);
      const danger = page.status === 303 ? dangerIn(page) : `answered ${page.status}`;
      if (danger !== undefined) dangers.push({ payload, danger, location: page.headers.location });
    }
    expect(dangers).toEqual([]);
  });

  test('is on our own origin in the link of the sign-in page, and cannot break out of it', async () => {
    const payloads = [
      ...redirectSample(world.origin),
      '/"><script>alert(1)</script>',
      "/'onclick='x",
      '/<b>',
    ];
    const dangers: unknown[] = [];
    for (const payload of payloads) {
      const { status, text } = await world.browser().step(`/login?${query(payload)}`);
      const links = [...text.matchAll(/href="([^"]*)"/g)].map(([, href]) => href!.replaceAll('&amp;', '&'));
      const link = links.filter((each) => each.includes('return_to'));
      const wanted = new URL(link[0] ?? 'x:', world.origin).searchParams.get('return_to');
      const danger = findDanger(safeReturnTo(wanted, world.origin), world.origin);
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
  ])('for an address that says %s is %s', async (search, expected) => {
    const browser = world.browser();
    await world.signIn(browser, 'alice', `/auth/login?${search}`);
    const callback = browser.exchanges.findLast(({ url }) => url.includes('/auth/callback'))!;
    expect(callback.response).toContain(`"location":"${world.origin}${expected}"`);
  });

  test.each(circular.slice(0, 15).map((each) => [each]))(
    'does not lead in a circle: %s ends on a page',
    async (payload) => {
      const browser = world.browser();
      const wanted = payload.replaceAll('O', world.origin);
      const end = await world.signIn(browser, 'alice', `/auth/login?${query(wanted)}`);
      expect(end.url).toBe(`${world.origin}/profile`);
      expect(end.status).toBe(200);
    },
  );

  test('is kept when it is ours', async () => {
    const end = await world.signIn(world.browser(), 'alice', `/auth/login?${query('/profile?tab=2')}`);
    expect(end.url).toBe(`${world.origin}/profile?tab=2`);
  });
});
