import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import request from 'supertest';
import { writeRoutesFile } from '../support/routes-file.ts';
import { createWorld, type World } from '../support/world.ts';

describe('the language of a page', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
  });
  afterAll(() => world.close());

  const get = (path: string, language: string | undefined, accept = 'text/html') =>
    request(world.origin)
      .get(path)
      .set({ accept, ...(language !== undefined && { 'accept-language': language }) });

  test.each([
    ['de-AT,de;q=0.9,en;q=0.8', 'de', 'Anmelden'],
    ['nl,de;q=0.5,en;q=0.4', 'de', 'Anmelden'],
    ['fr-CA', 'fr', 'Se connecter'],
    ['es-MX,es;q=0.9', 'es', 'Iniciar sesión'],
    ['en-GB', 'en', 'Sign in'],
    ['nl', 'en', 'Sign in'],
    ['de;q=0', 'en', 'Sign in'],
    ['*', 'en', 'Sign in'],
    ['en-@@, ;;q=x,\u00e4', 'en', 'Sign in'],
    [undefined, 'en', 'Sign in'],
  ])('a browser with Accept-Language %s gets a page in the language %s', async (language, lang, title) => {
    const { text, headers } = await get('/auth/sign-in', language);
    expect(text).toContain(`<html lang="${lang}">`);
    expect(text).toContain(`<title>${title} · Latchkey</title>`);
    expect(headers.vary).toMatch(/Accept-Language/);
  });

  test("error pages are in the browser's language, also under /api, and JSON messages stay in English", async () => {
    const cases = [
      [
        '/nothing/here',
        'Seite nicht gefunden',
        'There is nothing at this address. It may be mistyped, or the page may have moved. Please check the address.',
      ],
      [
        '/api/profile',
        'Bitte melden Sie sich an',
        "You aren't signed in, or not any more. Please sign in to continue.",
      ],
    ] as const;
    for (const [path, heading, message] of cases) {
      const page = await world.browser().step(path, { headers: { 'accept-language': 'de' } });
      expect(page.text).toContain(`<h1>${heading}</h1>`);
      expect(page.headers.vary).toMatch(/Accept-Language/);
      const json = await get(path, 'de', 'application/json');
      expect(json.body).toMatchObject({ message });
    }
  });

  test('a provider without a name has its host name as its name', async () => {
    expect((await get('/auth/sign-in', 'en')).text).toContain('Sign in with localhost');
    expect((await get('/auth/sign-in', 'de')).text).toContain('Anmelden mit localhost');
  });

  test("dates are formatted for the browser's language", async () => {
    const browser = world.browser();
    await world.signIn(browser);
    const profileIn = (language: string) =>
      browser.step('/profile', { headers: { 'accept-language': language } }).then(({ text }) => text);
    expect(await profileIn('de')).toContain('<time datetime="2019-05-04">4. Mai 2019</time>');
    expect(await profileIn('en-GB')).toContain('<time datetime="2019-05-04">4 May 2019</time>');
    expect(await profileIn('en')).toContain('<time datetime="2019-05-04">May 4, 2019</time>');
  });
});

describe('the signed-out page', () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
  });
  afterAll(() => world.close());

  test('/favicon.ico leads to the logo, and only the new addresses of the pages and files answer', async () => {
    const icon = await world.browser().go('/favicon.ico');
    expect([icon.status, icon.headers['content-type'], icon.url]).toEqual([
      200,
      'image/svg+xml',
      `${world.origin}/auth/assets/icon.svg`,
    ]);
    for (const path of ['/login', '/signed-out', '/resume/x', '/console', '/assets/style.css'])
      expect((await world.browser().step(path)).status).toBe(404); // they belong to the front end
  });

  test('the addresses of pages accept only GET and HEAD', async () => {
    const browser = world.browser();
    for (const path of [
      '/',
      '/favicon.ico',
      '/profile',
      '/auth/sign-in',
      '/auth/signed-out',
      '/auth/developer',
    ]) {
      const { status, headers } = await browser.step(path, { method: 'POST', from: `${world.origin}/` });
      expect([path, status, headers.allow]).toEqual([path, 405, 'GET, HEAD']);
    }
  });

  test('the signed-out page is shown only to signed-out users', async () => {
    const browser = world.browser();
    expect((await browser.go('/auth/signed-out')).text).toContain('You are signed out');
    expect((await browser.step('/auth/logout')).headers.location).toBe(`${world.origin}/auth/signed-out`);
    await world.signIn(browser);
    expect((await browser.step('/auth/signed-out')).headers.location).toBe(`${world.origin}/`);
  });
});

test("pages show the operator's name and logo", async () => {
  const world = await createWorld({
    env: { APP_NAME: 'Tom & Ann <3', APP_LOGO_URL: 'https://cdn.example.test/logo.svg?a=1&b=2' },
  });
  try {
    for (const [path, logos] of [
      ['/', 3],
      ['/nothing/here', 2],
    ] as const) {
      const { text } = await world.browser().go(path);
      expect(text).toMatch(/<title>[^<]+ · Tom &amp; Ann &lt;3<\/title>/);
      expect(text.match(/https:\/\/cdn\.example\.test\/logo\.svg\?a=1&amp;b=2/g)).toHaveLength(logos);
      expect(text).not.toContain('Latchkey');
    }
  } finally {
    await world.close();
  }
});

test('the home page belongs to the app: its name and tagline, one click to the provider, and a greeting once signed in', async () => {
  const world = await createWorld({
    env: {
      OAUTH2_SCOPES: 'openid profile read:profile',
      APP_NAME: 'Rose Garden',
      APP_TAGLINE: 'Roses & <b>tea</b>',
      OAUTH2_PROVIDER_NAME: 'Garden House',
      OAUTH2_PROVIDER_LOGO_URL: 'https://cdn.example.test/garden.svg',
    },
  });
  try {
    const browser = world.browser();
    const { text } = await browser.go('/');
    expect(text).toContain('<h1>Rose Garden</h1>');
    expect(text).toContain('Roses &amp; &lt;b&gt;tea&lt;/b&gt;');
    expect(text).toMatch(
      /href="\/auth\/login"><img src="https:\/\/cdn\.example\.test\/garden\.svg"[^>]*><span>Sign in with Garden House</,
    );
    expect(text).not.toMatch(/token|cookie|server/i);
    const login = await browser.step('/auth/login', { headers: { 'sec-fetch-site': 'same-origin' } });
    expect(login.headers.location).toContain(world.provider.issuer);
    await world.signIn(browser);
    const home = await browser.go('/');
    expect(home.text).toContain('<h1>Welcome, Alice Liddell</h1>');
    expect(home.text.replace(/<template.*?<\/template>/gs, '')).not.toContain('Sign in');
    expect((await browser.step('/', { headers: { 'accept-language': 'de' } })).text).toContain(
      '<h1>Willkommen, Alice',
    );
  } finally {
    await world.close();
  }
});

test('the profile page shows values in a readable form, and no value becomes markup or a script', async () => {
  const profile = {
    memberSince: '2019-05-04',
    newsletter: false,
    homepage: 'https://example.test/~alice?a=1&b=2',
    evil: 'javascript:alert(1)',
    '<b>key</b>': '<script>alert(2)</script>',
    teams: ['Roses', 'Tea'],
    office: { city: 'Oxford', floor: 1234.5 },
    nothing: null,
    empty: [],
  };
  const api = createServer((_req, res) => res.end(JSON.stringify(profile)));
  await new Promise<void>((resolve) => {
    api.listen(0, '127.0.0.1', resolve);
  });
  const { port } = api.address() as AddressInfo;
  const world = await createWorld({ env: { OAUTH2_API_BASE_URL: `http://127.0.0.1:${port}` } });
  try {
    const browser = world.browser();
    const { text } = await world.signIn(browser);
    const shown = text.replace(/\s+/g, ' ').replace(/> </g, '><');
    expect(shown).toContain('<dt>Member since</dt><dd><time datetime="2019-05-04">');
    expect(shown).toContain('<dt>Newsletter</dt><dd>No');
    expect(shown).toContain(
      '<a href="https://example.test/~alice?a=1&amp;b=2" rel="noopener noreferrer">https://example.test/',
    );
    expect(shown).toMatch(/<ul><li>\s*Roses\s*<\/li><li>\s*Tea\s*<\/li><\/ul>/);
    expect(shown).toContain('<dt>City</dt>');
    expect(shown).toContain('1,234.5');
    expect(shown).not.toMatch(/<dt>(Nothing|Empty)</);
    expect(shown).not.toMatch(/<script>|<b>|href="javascript/);
  } finally {
    await world.close();
    api.close();
  }
});

test('without scopes and routes that can be called, the page for developers says "none" and has no API console', async () => {
  const routes = [{ path: '/live', target: '/live', methods: { GET: {} }, webSocket: true }];
  const world = await createWorld({
    env: { OAUTH2_SCOPES: 'openid', API_ROUTES_FILE: writeRoutesFile(routes) },
    wrap: ({ tokenStore }) => ({
      tokenStore: {
        ...tokenStore,
        put: (id, record) => tokenStore.put(id, { ...record, tokens: { ...record.tokens, scope: [] } }),
      },
    }),
  });
  try {
    const browser = world.browser();
    await world.signIn(browser);
    const { text } = await browser.step('/auth/developer');
    expect(text).toMatch(/Permissions<\/dt><dd>\s*none/);
    expect(text).not.toContain('class="scopes"');
    expect(text).not.toContain('Try the API');
  } finally {
    await world.close();
  }
});
