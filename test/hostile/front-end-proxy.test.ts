import { readFileSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { paths } from '../../src/paths.ts';
import { createFrontEndFolder, type FrontEndFolder } from '../support/front-end-folder.ts';
import { type Nginx, runNginx } from '../support/nginx.ts';
import { createWorld, type World } from '../support/world.ts';
import { sendRequest } from './support/raw-http.ts';

const page = 'docs/front-end.md';

/** The settings for nginx on that page, with other addresses. */
function readRecipe(port: number, latchkey: string, root: string): string {
  const text = readFileSync(fileURLToPath(new URL(`../../${page}`, import.meta.url)), 'utf8');
  const [, recipe = ''] = /```nginx[^\n]*\n(.*?)```/s.exec(text) ?? [];
  return recipe
    .replace('listen 443 ssl;', `listen 127.0.0.1:${port};`)
    .replace('http://127.0.0.1:3000', latchkey.replace('localhost', '127.0.0.1'))
    .replace('/srv/app', root);
}

let folder: FrontEndFolder;
let world: World;
let nginx: Nginx;
beforeAll(async () => {
  folder = createFrontEndFolder({ 'index.html': 'the app', 'assets/app.js': 'app' });
  world = await createWorld({ store: 'memory' });
  nginx = await runNginx((port) => readRecipe(port, world.latchkey.origin, folder.path), '/');
});
afterAll(async () => {
  await nginx.close();
  await world.close();
  folder.remove();
});

test('with the settings for nginx, the pages of Latchkey are complete, and the others are those of the front end', async () => {
  const get = (path: string) => sendRequest(nginx.origin, 'GET', path, { accept: 'text/html' });
  const signedOut = await get(paths.signedOut);
  const files = [...signedOut.text.matchAll(/(?:src|href)="(\/auth\/assets\/[^"]+)"/g)].map(
    ([, path]) => path!,
  );
  expect([signedOut.status, files.length > 2]).toEqual([200, true]);
  for (const path of [...files, `${paths.assets}/latchkey.js`, paths.signIn, paths.session])
    expect([path, (await get(path)).status]).toEqual([path, 200]);
  for (const [path, status, own] of [
    ['/', 200, false],
    ['/orders/42', 200, false],
    ['/profile/settings', 200, false],
    ['/assets/app.js', 200, false],
    ['/assets/missing.js', 404, false],
    ['/profile', 303, true],
    [`${paths.savedForms}/unknown`, 303, true],
    ['/api/profile', 401, true],
    ['/api/unknown', 404, true],
    ['/auth/unknown', 404, true],
  ] as const) {
    const { headers, ...response } = await get(path);
    expect([path, response.status, 'x-request-id' in headers]).toEqual([path, status, own]);
  }
});

test('with the settings for nginx, a new index.html with the size and the time of the old one is another one', async () => {
  const write = (text: string) => {
    folder.write({ 'index.html': text });
    utimesSync(join(folder.path, 'index.html'), 1, 1);
  };
  write('the one');
  const { etag = '', 'last-modified': time = '' } = (await sendRequest(nginx.origin, 'GET', '/orders'))
    .headers;
  write('the two');
  const headers = { 'if-none-match': etag || '"1-7"', 'if-modified-since': time };
  expect(await sendRequest(nginx.origin, 'GET', '/orders', headers)).toMatchObject({
    status: 200,
    text: 'the two',
    headers: { 'cache-control': 'no-cache' },
  });
});
