import { mkdirSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from 'node:zlib';
import { ConfigError, loadConfig } from '../../src/config/load.ts';
import { sendRequest } from '../hostile/support/raw-http.ts';
import { createFrontEndFolder, type FrontEndFolder } from '../support/front-end-folder.ts';
import { createWorld, type World } from '../support/world.ts';

const script = `console.log(${JSON.stringify('x'.repeat(3_000))});`;
const hashed = 'assets/index-BxY3_k9a.js';
const page = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' };
const yearly = 'public, max-age=31536000, immutable';

let folder: FrontEndFolder;
let outside: FrontEndFolder;
let world: World;
beforeAll(async () => {
  outside = createFrontEndFolder({ 'secret.txt': 'secret', 'dir/secret.txt': 'secret' });
  folder = createFrontEndFolder({
    'index.html': '<!doctype html><title>The app</title>',
    'about.html': 'about',
    'docs/index.html': 'the docs',
    'robots.txt': 'User-agent: *',
    'video.mp4': Buffer.alloc(100_000, 7),
    'app.js': script,
    [hashed]: script,
    'immutable/app.js': script,
    'apple-app-site-association': '{}',
    '.well-known/matrix/client': '{}',
    'app.wasm': '',
    'app.webmanifest': '{}',
    'app.mjs': '',
    'assets/index-BxY3_k9a.js.map': '{}',
    'both.js': script,
    '.env': 'SECRET=1',
    '.git/config': 'secret',
    '.well-known/security.txt': 'Contact: mailto:a@example.com',
    'ümlaut name.txt': 'hello',
  });
  folder.write({
    'both.js.gz': gzipSync(`${script}/* gzip */`),
    'both.js.br': brotliCompressSync(`${script}/* br */`),
  });
  symlinkSync(join(outside.path, 'secret.txt'), join(folder.path, 'link.txt'));
  symlinkSync(hashed, join(folder.path, 'latest.js'));
  symlinkSync(join(outside.path, 'dir'), join(folder.path, 'linked'));
  mkdirSync(join(folder.path, '..data-1'));
  writeFileSync(join(folder.path, '..data-1/config.json'), '{}');
  symlinkSync('..data-1/config.json', join(folder.path, 'config.json')); // as Kubernetes mounts a ConfigMap
  world = await createWorld({ store: 'memory', env: { APP_DIR: folder.path } });
});
afterAll(async () => {
  await world.close();
  folder.remove();
  outside.remove();
});

const get = (path: string, headers: Readonly<Record<string, string>> = {}) =>
  sendRequest(world.origin, 'GET', path, headers);

describe('routes of the front end', () => {
  test.each(['/', '/orders', '/orders/42', '/users/jane.doe', '/sites/example.com', '/a%2Fb', '/app.js/'])(
    'a navigation to %s gets index.html',
    async (path) => {
      const { status, text, headers } = await get(path, page);
      expect([status, text]).toEqual([200, '<!doctype html><title>The app</title>']);
      expect(headers).toMatchObject({
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-cache',
      });
      expect(headers['set-cookie']).toBeUndefined();
    },
  );

  test.each(['GET', 'HEAD'])(
    '%s without a preference, as crawlers send it, finds a route',
    async (method) => {
      for (const headers of [{}, { accept: '*/*' }])
        expect((await sendRequest(world.origin, method, '/orders', headers)).status).toBe(200);
    },
  );

  test.each([
    ['/orders', { ...page, accept: '*/*', 'sec-fetch-mode': 'no-cors' }],
    ['/orders', { accept: 'application/json, text/plain, */*' }],
    ['/orders', { accept: 'image/*' }],
    ['/assets/missing.js', { accept: '*/*' }],
    ['/orders', { accept: 'application/json, text/html;q=0.1' }],
    ['/orders', { ...page, 'sec-fetch-mode': 'cors' }],
    ['/assets/missing.js', { ...page, 'sec-fetch-mode': 'navigate' }],
    ['/assets/index-AAAA_aaa.css', page],
    ['/.well-known/unknown', page],
    ['/wp-login.php', page],
  ] as const)('a request for %s with %j gets 404', async (path, headers) => {
    const { status, headers: received } = await get(path, headers);
    expect([status, received['cache-control']]).toEqual([404, 'no-store']);
  });

  test.each(['/auth/unknown', '/auth/login/unknown', '/api', '/api/unknown'])(
    '%s belongs to Latchkey',
    async (path) => {
      const { status, text } = await get(path, page);
      expect([status, text.includes('The app')]).toEqual([404, false]);
    },
  );

  test('folders have an index.html, and pages need no extension', async () => {
    expect(await get('/docs/')).toMatchObject({ status: 200, text: 'the docs' });
    expect(await get('/docs?a=1')).toMatchObject({
      status: 301,
      headers: { location: `${world.origin}/docs/?a=1` },
    });
    expect(await get('/about')).toMatchObject({ status: 200, text: 'about' });
    expect(await get('/%C3%BCmlaut%20name.txt')).toMatchObject({ status: 200, text: 'hello' });
    expect(await get('/config.json')).toMatchObject({ status: 200 });
    expect(await get('/.well-known/security.txt')).toMatchObject({ status: 200 });
  });

  test.each([
    ['/apple-app-site-association', 'application/json; charset=utf-8'], // iOS loads no other type
    ['/.well-known/matrix/client', 'application/json; charset=utf-8'],
    ['/.well-known/security.txt', 'text/plain; charset=utf-8'],
    ['/app.webmanifest', 'application/manifest+json; charset=utf-8'],
    ['/app.wasm', 'application/wasm'],
    ['/app.mjs', 'text/javascript; charset=utf-8'],
  ])('%s is of type %s', async (path, type) => {
    expect((await get(path)).headers['content-type']).toBe(type);
  });

  test('the pages of Latchkey keep their policy, and the front end has its own', async () => {
    const policyOf = async (path: string) =>
      String((await get(path, page)).headers['content-security-policy']);
    expect(await policyOf('/orders')).toContain(
      "script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'",
    );
    expect(await policyOf('/auth/unknown')).toContain("default-src 'none'");
    expect((await get('/orders', page)).headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
    });
  });

  test.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE'])('%s gets 405', async (method) => {
    const { status, headers } = await sendRequest(world.origin, method, '/orders');
    expect([status, headers.allow]).toEqual([405, 'GET, HEAD']);
  });

  test('HEAD is GET without a body', async () => {
    const { headers, text, status } = await sendRequest(world.origin, 'HEAD', '/robots.txt');
    expect([status, text, headers['content-length']]).toEqual([200, '', '13']);
  });
});

describe('files that are not for visitors', () => {
  test.each([
    ...[
      '/.env',
      '/.git/config',
      '/assets/../.env',
      '/link.txt',
      '/linked/secret.txt',
      '/..data-1/config.json',
    ],
    ...['/%2eenv', '/.ENV', '/assets%2f..%2f.env', '/assets%2f.env', '/secret.txt%00.html'],
  ])('%s is not served', async (path) => {
    for (const headers of [{}, { ...page, 'sec-fetch-mode': 'navigate' }]) {
      const { status, text } = await get(path, headers);
      expect([path, [400, 404].includes(status), text.includes('SECRET'), text === 'secret']).toEqual([
        path,
        true,
        false,
        false,
      ]);
    }
  });

  test.each(['/..', '/%2e%2e/%2e%2e/etc/passwd', '/..%5c..%5cetc', '/a%00b', '/%zz', '/a/./b'])(
    '%s, which no browser sends, gets 400',
    async (path) => expect((await get(path, page)).status).toBe(400),
  );

  test('a redirect to a folder never leads to another host', async () => {
    const { status } = await get('//evil.example/docs', page);
    expect(status).toBe(200); // a route of the front end
  });

  test('source maps are served outside production only', async () => {
    expect((await get(`/${hashed}.map`)).status).toBe(200);
  });
});

describe('caching', () => {
  test('hashed files are kept for ever, all others are revalidated', async () => {
    for (const path of [`/${hashed}`, '/immutable/app.js'])
      expect([path, (await get(path)).headers['cache-control']]).toEqual([path, yearly]);
    // latest.js is a link to the hashed file; the last one is a route.
    for (const path of [
      '/app.js',
      '/robots.txt',
      '/video.mp4',
      '/',
      '/latest.js',
      '/orders/index-BxY3_k9a.42',
    ])
      expect([path, (await get(path, page)).headers['cache-control']]).toEqual([path, 'no-cache']);
  });

  test.each(['/', '/orders', '/app.js', '/video.mp4', `/${hashed}`])(
    '%s is revalidated by its tag',
    async (path) => {
      const { etag = '' } = (await get(path, page)).headers;
      const { status, text } = await get(path, { ...page, 'if-none-match': etag });
      expect([etag === '', status, text]).toEqual([false, 304, '']);
    },
  );

  test('a new index.html with the size and the time of the old one is another one', async () => {
    const write = (title: string) => {
      folder.write({ 'release.html': `<title>${title}</title>` });
      utimesSync(join(folder.path, 'release.html'), 1, 1);
    };
    write('one');
    const { etag = '' } = (await get('/release.html')).headers;
    write('two');
    expect(await get('/release.html', { 'if-none-match': etag })).toMatchObject({
      status: 200,
      text: '<title>two</title>',
    });
  });
});

describe('compression', () => {
  async function fetchCompressed(path: string, encoding: string, headers = {}) {
    const response = await fetch(world.origin + path, {
      headers: { 'accept-encoding': encoding, ...headers },
    });
    return {
      encoding: response.headers.get('content-encoding'),
      vary: response.headers.get('vary'),
      text: await response.text(),
    };
  }

  test.each([
    ['gzip, deflate, br, zstd', 'br', '/* br */'],
    ['br;q=0.5, gzip', 'gzip', '/* gzip */'],
    ['gzip', 'gzip', '/* gzip */'],
    ['br;q=0, gzip;q=0', null, ''],
    ['identity', null, ''],
    ['*', 'br', '/* br */'],
  ] as const)('with Accept-Encoding %s, the twin for %s is sent', async (accepted, encoding, ending) => {
    const { vary, ...received } = await fetchCompressed('/both.js', accepted);
    expect(received).toEqual({ encoding, text: script + ending });
    expect(vary).toContain('Accept-Encoding');
  });

  test.each([
    ['gzip, deflate, br, zstd', 'br'],
    ['gzip', 'gzip'],
    ['identity', null],
  ])('with Accept-Encoding %s, a file without a twin is compressed', async (accepted, encoding) => {
    expect(await fetchCompressed('/app.js', accepted)).toMatchObject({ encoding, text: script });
  });

  test('images and videos are not compressed', async () => {
    expect((await fetchCompressed('/video.mp4', 'gzip')).encoding).toBe(null);
  });

  test('a twin that is older than its file is not sent', async () => {
    folder.write({ 'old.js': script, 'old.js.br': brotliCompressSync('old') });
    utimesSync(join(folder.path, 'old.js.br'), 1, 1);
    expect((await fetchCompressed('/old.js', 'br')).text).toBe(script);
  });

  test('the compressed body is complete, and HEAD and 304 have none', async () => {
    const { etag = '' } = (await get('/app.js')).headers;
    for (const [method, headers] of [
      ['HEAD', {}],
      ['GET', { 'if-none-match': etag }],
    ] as const) {
      const response = await sendRequest(world.origin, method, '/app.js', {
        'accept-encoding': 'br',
        ...headers,
      });
      expect(response.text).toBe('');
    }
    expect(gunzipSync(gzipSync(script)).equals(brotliDecompressSync(brotliCompressSync(script)))).toBe(true);
  });
});

describe('ranges', () => {
  test.each([
    ['bytes=0-9', 206, 'bytes 0-9/100000', 10],
    ['bytes=99990-', 206, 'bytes 99990-99999/100000', 10],
    ['bytes=-5', 206, 'bytes 99995-99999/100000', 5],
    ['bytes=200000-', 416, 'bytes */100000', 0],
  ] as const)('%s gets %i', async (range, status, contentRange, length) => {
    const response = await get('/video.mp4', { range });
    expect(response).toMatchObject({ headers: { 'content-range': contentRange } });
    expect([response.status, response.text.length]).toEqual([status, length]);
  });

  test('a part of a file that is compressed is never a part of the file', async () => {
    const { status, headers } = await get('/app.js', { range: 'bytes=0-9', 'accept-encoding': 'gzip' });
    expect([status, headers['content-range'], headers['content-encoding']]).toEqual([200, undefined, 'gzip']);
    expect((await get('/app.js', { range: 'bytes=0-9' })).text).toBe(script.slice(0, 10));
  });

  test('a range for an older version gets the whole file', async () => {
    const { status } = await get('/video.mp4', { range: 'bytes=0-9', 'if-range': 'W/"older"' });
    expect(status).toBe(200);
  });
});

describe('deployments', () => {
  test('a folder that is replaced, as a whole or by a link, is used at once', async () => {
    const [one, two] = ['one', 'two'].map((text) =>
      createFrontEndFolder({ 'index.html': text, [`${text}.txt`]: text }),
    );
    const links = createFrontEndFolder({});
    const current = join(links.path, 'current');
    symlinkSync(one!.path, current);
    const other = await world.startAnotherInstance(0, { APP_DIR: current });
    const read = (path: string) => sendRequest(other.origin, 'GET', path);
    expect(await read('/')).toMatchObject({ text: 'one' });
    symlinkSync(two!.path, join(links.path, 'next'));
    renameSync(join(links.path, 'next'), current);
    expect(await read('/')).toMatchObject({ text: 'two' });
    expect((await read('/one.txt')).status).toBe(404);
    rmSync(current);
    expect((await read('/one.txt')).status).toBe(404);
    for (const path of ['/', '/orders'])
      expect(await read(path)).toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
    for (const each of [one!, two!, links]) each.remove();
  });
});

describe('settings', () => {
  const problemsOf = (env: Readonly<Record<string, string>>) => {
    try {
      loadConfig(env);
      return '';
    } catch (error) {
      return error instanceof ConfigError ? error.message : String(error);
    }
  };

  test.each([
    [
      { APP_DIR: '/does/not/exist' },
      'APP_DIR is a folder that does not exist or cannot be read (/does/not/exist)',
    ],
    [{ APP_DIR: () => join(folder.path, 'robots.txt') }, 'APP_DIR must be a folder'],
    [{ APP_DIR: () => join(folder.path, 'assets') }, 'APP_DIR has no index.html'],
    [
      { APP_DIR: () => folder.path, APP_URL: 'http://localhost:5173' },
      'APP_URL cannot be set together with APP_DIR',
    ],
    [{ APP_URL: 'http://localhost:5173/app' }, 'APP_URL must be a scheme, a host and a port only'],
    [{ APP_URL: 'http://localhost:3000', PORT: '3000' }, 'APP_URL is the address of Latchkey itself'],
    [{ APP_REQUIRES_LOGIN: 'true' }, 'APP_REQUIRES_LOGIN has no effect without a front end'],
    [
      { APP_CSP: 'script-src self' },
      "APP_CSP has the word self without single quotes, which browsers take for a host: write 'self'",
    ],
    [{ APP_CSP: 'scriptsrc *' }, 'APP_CSP has the unknown directive scriptsrc'],
    [{ APP_CSP: "img-src *; img-src 'self'" }, 'APP_CSP has the directive img-src twice'],
  ])('%j stops the start', (settings, message) => {
    const env = Object.entries(settings).map(([name, value]) => [
      name,
      typeof value === 'function' ? value() : value,
    ]);
    expect(problemsOf(Object.fromEntries(env))).toContain(message);
  });

  test('an empty folder stops the start', () => {
    const empty = createFrontEndFolder({});
    expect(problemsOf({ APP_DIR: empty.path })).toContain('APP_DIR is an empty folder');
    empty.remove();
  });
});
