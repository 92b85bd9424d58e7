import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { sendRequest } from '../hostile/support/raw-http.ts';
import { writeRoutesFile } from '../support/routes-file.ts';
import { createWorld, type World } from '../support/world.ts';

const received: string[] = [];
const api = createServer((req, res) => {
  received.push(req.url ?? '');
  res.setHeader('content-type', 'application/json').end('{}');
});
let world: World;
beforeAll(async () => {
  await once(api.listen(0, '127.0.0.1'), 'listening');
  const target = `http://127.0.0.1:${(api.address() as AddressInfo).port}`;
  const row = { methods: { GET: {} }, token: 'none' };
  const routes = [
    {
      ...row,
      path: '/orders/:id',
      target: `${target}/v1/orders/:id.json?api-version=2024-01-01&code=a%2Bb&user_id=1`,
    },
    { ...row, path: '/jobs/:id', target: `${target}/v1/jobs/:id:cancel` },
    { ...row, path: '/search', target: `${target}/search?index=public`, query: ['q', 'index'] },
    { ...row, path: '/plain', target: `${target}/plain` },
    { path: '/profile', target: `${target}/me?fields=name`, methods: { GET: {} } },
  ];
  world = await createWorld({ env: { API_ROUTES_FILE: writeRoutesFile(routes) } });
});
afterAll(async () => {
  await world.close();
  api.close().closeAllConnections();
});

async function urlAtApi(path: string): Promise<string | number> {
  received.length = 0;
  const { status } = await sendRequest(world.origin, 'GET', `/api${path}`);
  return status === 200 ? (received[0] ?? 'nothing') : status;
}

const fixed = 'api-version=2024-01-01&code=a%2Bb&user_id=1';

test.each([
  ['/orders/42', `/v1/orders/42.json?${fixed}`],
  ['/orders/42?page=2&sort=a%2Bb', `/v1/orders/42.json?${fixed}&page=2&sort=a%2Bb`],
  ['/orders/a.b', `/v1/orders/a.b.json?${fixed}`],
  ['/orders/42?', `/v1/orders/42.json?${fixed}`],
  ['/jobs/7', '/v1/jobs/7:cancel'],
  ['/jobs/7?force=1', '/v1/jobs/7:cancel?force=1'],
  ['/search?q=x&other=1', '/search?index=public&q=x'],
  ['/plain?a=1&&b', '/plain?a=1&&b'],
])(
  'a target with a query and a suffix after a parameter: /api%s is %s at the API',
  async (path, expected) => {
    expect(await urlAtApi(path)).toBe(expected);
  },
);

test.each([
  ...[
    'api-version=9',
    'API-Version=9',
    '%61pi-version=9',
    'api-version[]=9',
    'api-version[x]=9',
    'code',
    'code=',
  ],
  ...['+api-version=9', 'api-version=9&code=8', 'CODE[0]=x'],
  // as PHP, Rack and qs read names
  ...['api-version[%ff]=9', 'api-version%00=9', 'code%00%ff=8', '[api-version]=9', '[[code=8', 'code]x=8'],
  ...['user_id=7', 'user.id=7', 'user[id=7', 'user%5bid=7'],
])('a caller cannot override a parameter that the target sets: ?%s', async (query) => {
  expect(await urlAtApi(`/orders/1?${query}&page=2`)).toBe(`/v1/orders/1.json?${fixed}&page=2`);
  expect(await urlAtApi('/search?index=secret&q=x')).toBe('/search?index=public&q=x');
});

test('a caller cannot override a parameter of the target behind a semicolon', async () => {
  expect(await urlAtApi('/orders/1?a=1;code=2')).toBe(`/v1/orders/1.json?${fixed}&a=1%3Bcode=2`);
});

test.each(['..', '%2e%2e', '.', 'a%2Fb', '..;x', '..%20', '.%C2%A0', '..%20;x'])(
  'a parameter with a suffix stays one segment: %s',
  async (id) => {
    expect([404, 400]).toContain(await urlAtApi(`/orders/${id}`));
  },
);

test('the profile page calls the API with the query of its target', async () => {
  const browser = world.browser();
  await world.signIn(browser);
  received.length = 0;
  expect((await browser.go('/profile')).status).toBe(200);
  expect(received).toEqual(['/me?fields=name']);
});
