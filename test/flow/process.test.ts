import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Browser } from '../support/browser.ts';
import { buildApp, root } from '../support/build.ts';
import { listenOnFreePort } from '../support/latchkey.ts';
import { finishSignIn } from '../support/world.ts';

let built: string;
beforeAll(() => {
  built = buildApp();
}, 60_000);
afterAll(() => rmSync(built, { recursive: true, force: true }));

const good = {
  OAUTH2_ISSUER: 'http://localhost:1',
  OAUTH2_CLIENT_ID: 'x',
  OAUTH2_CLIENT_SECRET: 'a-client-secret',
  OAUTH2_REDIRECT_URI: 'http://localhost:3000/auth/callback',
  OAUTH2_API_BASE_URL: 'http://localhost:2',
  SESSION_SECRET: 'x'.repeat(32),
};

interface Run {
  readonly child: ChildProcess;
  output(): string;
  says(text: string): Promise<void>;
  ends(): Promise<number | null>;
}

function watch(child: ChildProcess): Run {
  let text = '';
  const ended = once(child, 'close').then(([code]) => code as number | null);
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk) => {
      text += chunk;
    });
  return {
    child,
    output: () => text,
    async says(wanted) {
      while (!text.includes(wanted)) {
        if (child.exitCode !== null) throw new Error(`it ended without saying "${wanted}": ${text}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    ends: () => ended,
  };
}

function start(env: Record<string, string>): Run {
  const { PATH } = process.env;
  return watch(
    spawn(process.execPath, [join(built, 'dist/main.js')], { cwd: built, env: { PATH: PATH ?? '', ...env } }),
  );
}

async function freePort(): Promise<string> {
  const { server, origin } = await listenOnFreePort();
  await new Promise((resolve) => server.close(resolve));
  return new URL(origin).port;
}

test('a faulty configuration is told whole, with exit code 78, and nothing listens', async () => {
  const run = start({ SESSION_SECRET: 'too-short-but-secret', PORT: 'http' });
  expect(await run.ends()).toBe(78);
  for (const variable of ['OAUTH2_ISSUER', 'OAUTH2_CLIENT_ID', 'OAUTH2_CLIENT_SECRET', 'OAUTH2_REDIRECT_URI'])
    expect(run.output()).toMatch(new RegExp(`^  ${variable} is missing.* Example: ${variable}=`, 'm'));
  expect(run.output()).toContain('SESSION_SECRET must be 32 characters or more');
  expect(run.output()).toContain('PORT must be a port number');
  expect(run.output()).not.toContain('too-short-but-secret');
  expect(run.output()).not.toContain('at '); // no stack trace
});

test('it starts without its provider, says so, serves, and ends cleanly on SIGTERM', async () => {
  const port = await freePort();
  const run = start({ ...good, PORT: port });
  await run.says('Latchkey is listening');
  await run.says('cannot be had yet');
  const browser = new Browser(`http://localhost:${port}`);
  expect((await browser.fetch('/healthz')).status).toBe(200);
  const login = await browser.step('/auth/login');
  expect(login.status).toBe(503);
  run.child.kill('SIGINT');
  run.child.kill('SIGTERM'); // as a terminal and a parent do together
  expect(await run.ends()).toBe(0);
  expect(run.output()).not.toContain('a-client-secret');
});

test('a port in use is one line that names it and the variable', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as { port: number };
  const run = start({ ...good, PORT: String(port), LOG_LEVEL: 'silent' });
  expect(await run.ends()).toBe(1);
  expect(run.output().trim()).toBe(`Port ${port} is already in use. Set PORT to another one.`);
  await new Promise((resolve) => taken.close(resolve));
});

test('without a revocation endpoint the operator is warned at start-up', async () => {
  const { OAUTH2_ISSUER: _, ...rest } = good;
  const endpoints = {
    OAUTH2_AUTHORIZATION_URL: 'http://localhost:1/a',
    OAUTH2_TOKEN_URL: 'http://localhost:1/t',
  };
  const run = start({ ...rest, ...endpoints, PORT: await freePort() });
  await run.says('OAUTH2_REVOCATION_URL');
  run.child.kill('SIGINT');
  expect(await run.ends()).toBe(0);
});

test('npm run demo: open, sign in, stop', async () => {
  const [PORT, DEMO_PROVIDER_PORT] = [await freePort(), await freePort()];
  const run = watch(
    spawn('npm', ['run', '--silent', 'demo'], {
      cwd: root,
      env: { ...process.env, PORT, DEMO_PROVIDER_PORT },
      detached: true, // a process group of its own, as a terminal would give it
    }),
  );
  await run.says('Ctrl-C');
  expect(run.output()).toContain(`http://localhost:${PORT}`);
  const browser = new Browser(`http://localhost:${PORT}`);
  const page = await finishSignIn(browser, await browser.go('/auth/login'));
  expect(page.text).toContain('Alice Liddell');
  expect((await browser.fetch('/api/data')).status).toBe(200);
  process.kill(-run.child.pid!, 'SIGINT');
  expect(await run.ends()).toBe(0);
  await expect(browser.fetch('/healthz')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
}, 60_000);

test('npm run demo: a port in use is one line that names it and the variable', async () => {
  const { server, origin } = await listenOnFreePort();
  const port = new URL(origin).port;
  const run = watch(
    spawn('npm', ['run', '--silent', 'demo'], {
      cwd: root,
      env: { ...process.env, PORT: await freePort(), DEMO_PROVIDER_PORT: port },
    }),
  );
  expect(await run.ends()).toBe(1);
  expect(run.output()).toMatch(new RegExp(`^Port ${port} is already in use. Set DEMO_PROVIDER_PORT.*$`, 'm'));
  await new Promise((resolve) => server.close(resolve));
}, 60_000);
