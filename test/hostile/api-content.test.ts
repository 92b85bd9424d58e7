import { createWorld, type World } from '../support/world.ts';
import { type ApiWorld, createApiWorld } from './support/api-world.ts';
import { formatHead, sendRaw, sendRequest } from './support/raw-http.ts';

const refused = [
  ...['script', 'style', 'worker', 'sharedworker', 'serviceworker', 'audioworklet', 'paintworklet'],
  ...[
    'sharedstorageworklet',
    'object',
    'embed',
    'frame',
    'iframe',
    'fencedframe',
    'xslt',
    'manifest',
    'text',
  ],
  ...['speculationrules', 'a-future-kind', 'SCRIPT', 'empty, script'],
];
const passed = ['image', 'audio', 'video', 'font', 'track', 'document', 'empty', 'json'];
const evilScript = { 'content-type': 'text/javascript' };

describe('what an API returns', () => {
  let api: ApiWorld;
  beforeAll(async () => {
    api = await createApiWorld([
      { path: '/files/*rest', target: '/files/*rest', methods: { GET: {}, POST: {} } },
      { path: '/open', target: '/open', methods: { GET: {} }, token: 'none' },
    ]);
    api.recorder.respondWith((_req, res) => void res.writeHead(200, evilScript).end('evil()'));
  });
  afterAll(() => api.close());

  test.each(refused)(
    'never runs on our origin: Sec-Fetch-Dest %s gets 403 without a call of the API',
    async (dest) => {
      for (const path of ['/api/files/evil.js', '/api/open', '/api/unknown']) {
        const lines = ['Sec-Fetch-Site: same-origin', `Sec-Fetch-Dest: ${dest}`];
        const { response, forwarded } = await api.sendAndRecord(`GET ${path}`, lines);
        expect([response.statuses, forwarded]).toEqual([[403], []]);
        expect(response.text).toContain('"forbidden_destination"');
      }
    },
  );

  test('is no service worker, also in a browser without Fetch Metadata', async () => {
    const { response, forwarded } = await api.sendAndRecord('GET /api/files/evil.js', [
      'Service-Worker: script',
    ]);
    expect([response.statuses, forwarded]).toEqual([[403], []]);
  });

  test.each(passed)('is loaded as data: Sec-Fetch-Dest %s', async (dest) => {
    const lines = ['Sec-Fetch-Site: same-origin', `Sec-Fetch-Dest: ${dest}`];
    expect((await api.send('GET /api/files/a', lines)).statuses).toEqual([200]);
  });

  test('is not run when the API console or a saved form sends the request from a frame', async () => {
    const body = new URLSearchParams({ row: 'POST /files/*rest', 'path.rest': 'a' }).toString();
    const lines = ['Sec-Fetch-Site: same-origin', 'Sec-Fetch-Dest: iframe', `Content-Length: ${body.length}`];
    const form = [...lines, 'Content-Type: application/x-www-form-urlencoded'];
    const { response, forwarded } = await api.sendAndRecord('POST /auth/console', form, [body]);
    expect([response.statuses, forwarded]).toEqual([[403], []]);
  });

  test('cannot be a script, style, font, manifest or worker of our pages', async () => {
    const { headers } = await sendRequest(api.world.origin, 'GET', '/');
    const policy = String(headers['content-security-policy']).split(';');
    const own = `${api.world.origin}/auth/assets/`;
    for (const name of ['script-src', 'worker-src', 'style-src', 'font-src', 'manifest-src'])
      expect(policy).toContain(`${name} ${own}`);
    expect(policy).toContain("default-src 'none'");
  });
});

describe('over https', () => {
  let world: World;
  beforeAll(async () => {
    const env = { TRUST_PROXY: 'loopback', CORS_ORIGINS: 'https://spa.example.test' };
    world = await createWorld({ store: 'memory', publicOrigin: 'https://app.example.test', env });
  });
  afterAll(() => world.close());

  const origin = 'https://spa.example.test';
  test.each([
    ['the health check', 'GET', '/healthz', {}],
    ['an API route without a session', 'GET', '/api/profile', {}],
    ['an unknown API route', 'GET', '/api/unknown', {}],
    ['a navigation to an API route', 'GET', '/api/profile', { 'sec-fetch-mode': 'navigate' }],
    ['OPTIONS of an API route', 'OPTIONS', '/api/profile', {}],
    ['a preflight', 'OPTIONS', '/api/profile', { origin, 'access-control-request-method': 'GET' }],
    ['a page', 'GET', '/', {}],
    ['a page that does not exist', 'GET', '/unknown', {}],
    ['a redirect to the provider', 'GET', '/auth/login', { 'sec-fetch-mode': 'navigate' }],
    ['session information', 'GET', '/auth/session', {}],
    ['a file', 'GET', '/auth/assets/style.css', {}],
    ['a rejected method', 'DELETE', '/auth/session', {}],
    ['an address that is not valid', 'GET', '/%zz', {}],
  ] as const)('%s has the base security headers', async (_what, method, path, more) => {
    const headers = { host: 'app.example.test', 'x-forwarded-proto': 'https', ...more };
    const response = await sendRequest(world.latchkey.origin, method, path, headers);
    expect(response.headers).toMatchObject({
      'strict-transport-security': 'max-age=31536000',
      'referrer-policy': 'same-origin',
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'cross-origin-resource-policy': 'same-origin',
      'content-security-policy': expect.stringMatching(/default-src 'none'.*frame-ancestors 'none'/),
    });
  });

  test('a request that cannot be parsed gets headers that keep browsers from interpreting the response', async () => {
    const { statuses, text } = await sendRaw(world.latchkey.origin, [formatHead('GET / x', [])]);
    expect(statuses).toEqual([400]);
    expect(text).toContain('X-Content-Type-Options: nosniff');
  });

  test('HSTS includes subdomains only when HSTS_INCLUDE_SUBDOMAINS is true', async () => {
    const other = await world.startAnotherInstance(0, { HSTS_INCLUDE_SUBDOMAINS: 'true' });
    for (const path of ['/', '/api/unknown', '/healthz']) {
      const { headers } = await sendRequest(other.origin, 'GET', path);
      expect(headers['strict-transport-security']).toMatch(/^max-age=31536000; includeSubDomains$/i);
    }
  });
});
