import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createOverrides, readSettings } from '../../demo/dev/environment.ts';
import { parseOptions } from '../../demo/dev/options.ts';
import { createLatchkeyEnvironment, findIgnored } from '../../demo/latchkey-environment.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'latchkey-settings-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const demo = {
  issuer: 'http://localhost:3001',
  clientId: 'c',
  clientSecret: 's',
  apiUrl: 'http://localhost:9',
};
const options = (...args: string[]) => {
  const parsed = parseOptions(args);
  if (parsed === 'help') throw new Error('help');
  return parsed;
};

function read(file: string, env: Record<string, string> = {}, ...args: string[]) {
  writeFileSync(join(folder, '.env'), file);
  const settings = readSettings(env, folder, options(...args));
  const parts = { sessionSecret: 'random', demo: settings.usesDemoProvider ? demo : undefined };
  return { settings, overrides: createOverrides(settings, options(...args), parts) };
}

test('latchkey dev without settings uses the demo provider and the demo API', () => {
  const { settings, overrides } = read('');
  expect(settings).toMatchObject({ usesDemoProvider: true, usesDemoApi: true, port: 3000 });
  expect(overrides).toMatchObject({
    OAUTH2_ISSUER: demo.issuer,
    OAUTH2_API_BASE_URL: demo.apiUrl,
    OAUTH2_REDIRECT_URI: 'http://localhost:3000/auth/callback',
    SESSION_SECRET: 'random',
  });
});

test("latchkey dev keeps the developer's API, origins and secret, with the demo provider", () => {
  const file = 'OAUTH2_API_BASE_URL=http://localhost:4000\nCORS_ORIGINS=http://localhost:5173\nPORT=3100';
  const { settings, overrides } = read(file, { SESSION_SECRET: 'mine' });
  expect(settings.usesDemoApi).toBe(false);
  expect(settings.namesInFile).toEqual(['OAUTH2_API_BASE_URL', 'CORS_ORIGINS', 'PORT']);
  expect(overrides).not.toHaveProperty('OAUTH2_API_BASE_URL');
  expect(overrides).not.toHaveProperty('CORS_ORIGINS');
  expect(overrides).not.toHaveProperty('SESSION_SECRET');
  expect(overrides.OAUTH2_SCOPES).toBe('openid profile email');
  expect(overrides.OAUTH2_REDIRECT_URI).toBe('http://localhost:3100/auth/callback');
});

test("the developer's provider replaces the demo provider; what belongs to another provider is ignored without one, and named", () => {
  const own = read('OAUTH2_ISSUER=https://login.example.com\nOAUTH2_CLIENT_ID=mine');
  expect(own.settings).toMatchObject({ usesDemoProvider: false, ignored: [] });
  expect(own.overrides).not.toHaveProperty('OAUTH2_CLIENT_ID');
  const without = read('OAUTH2_CLIENT_ID=mine\nOAUTH2_CLIENT_SECRET_FILE=./secret');
  expect(without.settings.ignored).toEqual(['OAUTH2_CLIENT_ID', 'OAUTH2_CLIENT_SECRET_FILE']);
  expect(without.overrides).toMatchObject({ OAUTH2_CLIENT_ID: 'c', OAUTH2_CLIENT_SECRET_FILE: '' });
  expect(without.settings.files).toEqual([join(folder, 'secret')]);
  expect(read('VIEWS_DIR=./pages').settings.files).toEqual([join(folder, 'pages', 'texts')]);
});

test('options take precedence over the environment, and the environment over .env', () => {
  const file = 'PORT=1\nAPP_NAME=file\nOAUTH2_API_BASE_URL=http://localhost:1';
  const args = ['--port', '3100', '--api', 'http://localhost:4000', '--spa', folder, '--scope', 'a b'];
  const { settings, overrides } = read(file, { APP_NAME: 'env', PORT: '2' }, ...args);
  expect(settings.port).toBe(3100);
  expect(settings.namesInFile).toEqual([]);
  expect(['PORT', 'APP_NAME', 'HOST'].map(settings.sourceOf)).toEqual(['option', 'environment', 'default']);
  expect(overrides).toMatchObject({
    PORT: '3100',
    OAUTH2_API_BASE_URL: 'http://localhost:4000',
    API_ROUTES_FILE: expect.stringMatching(/api-routes\.json$/),
    APP_DIR: folder,
    OAUTH2_SCOPES: 'openid profile email a b',
  });
  expect(overrides).not.toHaveProperty('APP_NAME');
});

test.each([
  [['--port', '0'], '--port must be a port number'],
  [['--api', 'localhost:4000'], '--api must be an http or https URL'],
  [['--spa', './no-such-folder'], 'there is no folder ./no-such-folder'],
  [['--scope', ' '], '--scope must name a scope'],
  [['--apy', 'x'], "Unknown option '--apy'"],
  [['start'], "Unexpected argument 'start'"],
])('latchkey dev %j is explained', (args, message) => {
  expect(() => parseOptions(args)).toThrow(message);
});

test.each([
  [{ NODE_ENV: 'production' }, ''],
  [{}, 'NODE_ENV=production'],
])('latchkey dev refuses NODE_ENV=production (%j, %j)', (env, file) => {
  expect(() => read(file, env)).toThrow('NODE_ENV is production');
});

test('npm run demo names the settings that it ignores, and inherits the others', () => {
  const inherited = {
    OAUTH2_API_BASE_URL: 'http://localhost:4000',
    REDIS_URL: 'redis://localhost',
    CORS_ORIGINS: 'http://localhost:5173',
    API_ROUTES_FILE: './routes.json',
    HOST: 'shell',
  };
  expect(findIgnored(inherited)).toEqual(['OAUTH2_API_BASE_URL', 'REDIS_URL']);
  const client = { clientId: 'c', clientSecret: 's' };
  const env = createLatchkeyEnvironment({
    ...{ inherited, client, port: 3000, appOrigin: 'http://localhost:3000' },
    ...{ issuer: demo.issuer, apiUrl: demo.apiUrl },
  });
  expect(env).toMatchObject({ CORS_ORIGINS: inherited.CORS_ORIGINS, OAUTH2_API_BASE_URL: demo.apiUrl });
  expect(env.API_ROUTES_FILE).toBe(join(process.cwd(), 'routes.json'));
  expect(env).not.toHaveProperty('REDIS_URL');
});
