import { get } from 'node:http';
import { Browser } from '../support/browser.ts';
import { type Nginx, startNginx } from '../support/nginx.ts';
import { createWorld, type World } from '../support/world.ts';

const settings = [
  'proxy_http_version 1.1;',
  'proxy_set_header Host $host;',
  'proxy_set_header Connection "";',
];

describe.each([
  ['passes the base path on', { location: '/portal/' }, '/portal'],
  ['adds the base path that something before it has removed', { location: '/', replacedBy: '/portal/' }, ''],
])('nginx that %s', (_name, paths, received) => {
  let world: World;
  let nginx: Nginx;
  beforeAll(async () => {
    world = await createWorld({ basePath: '/portal' });
    nginx = await startNginx(world.origin, settings, paths);
  });
  afterAll(async () => {
    await nginx.close();
    await world.close();
  });

  test('serves the pages, the files and the login', async () => {
    const browser = new Browser(nginx.origin);
    const page = await browser.step(`${received}/auth/sign-in`);
    expect([
      page.status,
      page.text.includes('href="/portal/auth/login?return_to=%2Fportal%2Fprofile"'),
    ]).toEqual([200, true]);
    expect((await browser.step(`${received}/auth/assets/style.css`)).status).toBe(200);
    const login = await browser.step(`${received}/auth/login`);
    expect(login.headers.location).toContain(encodeURIComponent(`${world.url}/auth/callback`));
  });

  test.each(['..%2fauth/session', '%2e%2e/auth/session', '..%5cauth/session'])(
    'does not let a path leave the base path: %s',
    async (path) => {
      const { hostname, port } = new URL(nginx.origin);
      const status = await new Promise((resolve, reject) => {
        get({ hostname, port, path: `${received}/${path}` }, (response) => {
          response.resume();
          resolve(response.statusCode);
        }).on('error', reject);
      });
      expect([400, 404]).toContain(status);
    },
  );
});
