import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Browser } from '../support/browser.ts';
import { root } from '../support/build.ts';
import { freePort, killChildren, type Run, watch } from '../support/processes.ts';
import { finishSignIn } from '../support/world.ts';

import.meta.jest.setTimeout(240_000); // each restart loads the whole program, on a busy machine

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'latchkey-dev-'));
  for (const each of ['src', 'demo', 'views', 'public', 'package.json'])
    cpSync(join(root, each), join(folder, each), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
});
afterEach(() => {
  killChildren();
  rmSync(folder, { recursive: true, force: true });
});

interface Development extends Run {
  readonly origin: string;
  readonly providerPort: string;
  /** Changes a file in one step and settles when the output contains `expected` once more. */
  change(path: string, edit: (text: string) => string, expected?: string): Promise<void>;
}

async function startDevelopment(env: Record<string, string> = {}): Promise<Development> {
  const port = await freePort();
  const providerPort = await freePort();
  const { PATH = '', HOME = '' } = process.env;
  const child = spawn('npm', ['run', 'dev'], {
    cwd: folder,
    env: { PATH, HOME, PORT: port, DEMO_PROVIDER_PORT: providerPort, ...env },
    detached: true,
  });
  const run = watch(child);
  const count = (text: string) => run.output().split(text).length - 1;
  return {
    ...run,
    origin: `http://localhost:${port}`,
    providerPort,
    async change(path, edit, expected = 'latchkey dev: restarted') {
      const before = count(expected);
      const file = join(folder, path);
      writeFileSync(`${file}.new`, edit(read(file)));
      renameSync(`${file}.new`, file); // as many editors save
      while (count(expected) <= before) {
        if (child.exitCode !== null) throw new Error(`npm run dev has exited: ${run.output()}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
  };
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** Whether nothing listens on the port any more. */
const isFree = (port: string) =>
  new Promise<boolean>((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(Number(port), '127.0.0.1', () => server.close(() => resolve(true)));
  });

const setGreeting = (greeting: string) => (json: string) =>
  json.replace(/("home": \{[^}]*"hello": )"[^"]*"/, `$1"${greeting}"`);

test('npm run dev restarts after changes of texts, code, settings and routes, and the user stays signed in', async () => {
  const development = await startDevelopment();
  await development.waitForOutput('Ctrl-C');
  expect(development.output()).toContain('as alice or bob, with any password');
  const { origin, change } = development;
  const browser = new Browser(origin);
  const isSignedIn = async () =>
    ((await browser.fetch('/auth/session')).json() as { authenticated: boolean }).authenticated;
  const home = async (language = 'en') =>
    (await browser.step('/', { headers: { 'accept-language': language } })).text;

  // A sign-in that is in progress during a restart completes.
  const providerPage = await browser.go('/auth/login');
  await change('views/texts/en.json', setGreeting('A new text'));
  await finishSignIn(browser, providerPage);
  expect(await isSignedIn()).toBe(true);
  expect(await home()).toContain('A new text');

  // A new file.
  const english = read(join(folder, 'views/texts/en.json'));
  await change('views/texts/it.json', () => setGreeting('Un nuovo testo')(english));
  expect(await home('it')).toContain('Un nuovo testo');
  expect((await browser.fetch('/api/profile')).status).toBe(200);

  // Code that does not compile: the old process goes on, and the next change repairs it.
  const paths = read(join(folder, 'src/paths.ts'));
  await change('src/paths.ts', () => `${paths} export const = 1;`, 'the restart has failed');
  expect(await isSignedIn()).toBe(true);
  await change('src/paths.ts', () => paths.replace("'/profile'", "'/me'"));
  expect((await browser.step('/me')).status).toBe(200);

  // Settings that are not valid, then the file that was missing.
  const api = createHttpServer((req, res) => res.end(JSON.stringify({ path: req.url }))).listen(0);
  const { port: apiPort } = api.address() as AddressInfo;
  const settings = `OAUTH2_API_BASE_URL=http://localhost:${apiPort}\nAPI_ROUTES_FILE=./routes.json\n`;
  await change('.env', () => settings, 'the restart has failed');
  expect(development.output()).toContain('API_ROUTES_FILE cannot be read');
  const routes = [{ path: '/orders', target: '/v1/orders', methods: { GET: { allOf: ['orders:read'] } } }];
  await change('routes.json', () => JSON.stringify({ routes }));
  const refused = await browser.fetch('/api/orders');
  expect(refused.status).toBe(403);
  const { login_url } = refused.json() as { login_url: string };
  await finishSignIn(browser, await browser.go(login_url));
  expect((await browser.fetch('/api/orders')).json()).toEqual({ path: '/v1/orders' });
  api.close();

  process.kill(-development.child.pid!, 'SIGINT'); // as Ctrl-C does
  const stoppedAt = Date.now();
  expect(await development.waitForExit()).toBe(0);
  expect(Date.now() - stoppedAt).toBeLessThan(8_000);
  expect(await isFree(new URL(origin).port)).toBe(true);
  expect(await isFree(development.providerPort)).toBe(true);
});

test('npm run dev ends with its processes, also during a restart, and explains a port in use', async () => {
  const development = await startDevelopment();
  await development.waitForOutput('Ctrl-C');
  const { port } = new URL(development.origin);
  const second = await startDevelopment({ PORT: port });
  expect(await second.waitForExit()).toBe(1);
  expect(second.output()).toContain(`Port ${port} is already in use. Set PORT to another port`);
  writeFileSync(join(folder, '.env'), 'APP_NAME=Another name');
  development.child.kill('SIGTERM');
  expect(await development.waitForExit()).toBe(0);
  expect(await isFree(port)).toBe(true);
});

test('npm run dev does not run with the settings of production', async () => {
  writeFileSync(join(folder, '.env'), 'NODE_ENV=production');
  const development = await startDevelopment();
  expect(await development.waitForExit()).toBe(1);
  expect(development.output()).toContain('NODE_ENV is production');
});
