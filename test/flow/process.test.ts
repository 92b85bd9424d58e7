import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import request from 'supertest';
import { formatHead, sendRaw } from '../hostile/support/raw-http.ts';
import { Browser } from '../support/browser.ts';
import { buildApp, root } from '../support/build.ts';
import { listenOnFreePort } from '../support/latchkey.ts';
import { finishSignIn } from '../support/world.ts';

let buildDir: string;
beforeAll(() => {
  buildDir = buildApp();
}, 60_000);
afterAll(() => rmSync(buildDir, { recursive: true, force: true }));

const validEnv = {
  OAUTH2_ISSUER: 'http://localhost:1',
  OAUTH2_CLIENT_ID: 'x',
  OAUTH2_CLIENT_SECRET: 'a-client-secret',
  OAUTH2_REDIRECT_URI: 'http://localhost:3000/auth/callback',
  OAUTH2_API_BASE_URL: 'http://localhost:2',
  SESSION_SECRET: 'a-secret-for-tests-that-is-long-enough',
};

interface Run {
  readonly child: ChildProcess;
  output(): string;
  /** Settles when the output contains `text`. */
  waitForOutput(text: string): Promise<void>;
  /** Settles with the exit code. */
  waitForExit(): Promise<number | null>;
}

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) if (child.exitCode === null) child.kill('SIGKILL'); // left by a failed test
});

function watch(child: ChildProcess): Run {
  children.push(child);
  let text = '';
  const exitCode = once(child, 'close').then(([code]) => code as number | null);
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk) => {
      text += chunk;
    });
  return {
    child,
    output: () => text,
    async waitForOutput(expected) {
      while (!text.includes(expected)) {
        if (child.exitCode !== null)
          throw new Error(`the process exited without printing "${expected}": ${text}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    waitForExit: () => exitCode,
  };
}

function start(env: Record<string, string>): Run {
  const { PATH } = process.env;
  return watch(
    spawn(process.execPath, [join(buildDir, 'dist/main.js')], {
      cwd: buildDir,
      env: { PATH: PATH ?? '', ...env },
    }),
  );
}

async function freePort(): Promise<string> {
  const { server, origin } = await listenOnFreePort();
  await new Promise((resolve) => server.close(resolve));
  return new URL(origin).port;
}

test('startup with an invalid configuration lists every problem and exits with code 78', async () => {
  const run = start({ SESSION_SECRET: 'too-short-but-secret', PORT: 'http' });
  expect(await run.waitForExit()).toBe(78);
  for (const variable of ['OAUTH2_ISSUER', 'OAUTH2_CLIENT_ID', 'OAUTH2_CLIENT_SECRET', 'OAUTH2_REDIRECT_URI'])
    expect(run.output()).toMatch(new RegExp(`^  ${variable} is missing.* Example: ${variable}=`, 'm'));
  expect(run.output()).toContain('SESSION_SECRET must be at least 32 characters');
  expect(run.output()).toContain('PORT must be a port number');
  expect(run.output()).not.toContain('too-short-but-secret');
  expect(run.output()).not.toMatch(/^\s+at /m); // no stack trace
});

test('Latchkey starts while its provider is unavailable, logs that, serves requests, and exits with code 0 on SIGTERM', async () => {
  const port = await freePort();
  const run = start({ ...validEnv, PORT: port });
  await run.waitForOutput('Latchkey is listening');
  await run.waitForOutput('provider metadata is not available yet');
  const latchkey = request(`http://localhost:${port}`);
  await latchkey.get('/healthz').expect(200);
  await latchkey.get('/auth/login').set('sec-fetch-mode', 'navigate').expect(503);
  run.child.kill('SIGINT');
  run.child.kill('SIGTERM'); // as a terminal and a parent process do together
  expect(await run.waitForExit()).toBe(0);
  expect(run.output()).not.toContain('a-client-secret');
});

test('a request with too many cookies gets a complete page that says so, and other invalid requests an empty 400', async () => {
  const port = await freePort();
  const origin = `http://localhost:${port}`;
  const run = start({ ...validEnv, PORT: port });
  await run.waitForOutput('Latchkey is listening');
  for (const size of [20_000, 5_000_000]) {
    const head = formatHead('GET /profile', ['Host: localhost', `Cookie: a=${'x'.repeat(size)}`]);
    const { statuses, text } = await sendRaw(origin, [head], { readLate: true });
    expect(statuses).toEqual([431]);
    const [headers, page] = text.split('\r\n\r\n');
    expect(headers).toContain('Content-Type: text/html');
    expect(headers).toContain(`Content-Length: ${page!.length}`);
    expect(page).toContain('Clear the cookies for this site');
    expect(page).toMatch(/<\/html>\n$/);
    expect(page).not.toMatch(/<script|<style|style=|src=|href=/);
  }
  const invalid = [
    'NOT HTTP\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n',
    'POST /auth/refresh HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n',
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', // https instead of http
  ];
  for (const each of invalid)
    expect((await sendRaw(origin, [each])).text).toBe(
      'HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
    );
  await request(origin).get('/healthz').expect(200);
  const warnings = run.output().match(/"level":40.*request rejected \(431\)/g);
  expect(warnings).toHaveLength(2);
  expect(run.output()).not.toMatch(/"level":50|xxxx/);
  run.child.kill('SIGTERM');
  expect(await run.waitForExit()).toBe(0);
});

test('startup on a port in use prints one line that names the port and the variable that sets it', async () => {
  const otherServer = createServer();
  await new Promise<void>((resolve) => otherServer.listen(0, '127.0.0.1', resolve));
  const { port } = otherServer.address() as { port: number };
  const run = start({ ...validEnv, PORT: String(port), LOG_LEVEL: 'silent' });
  expect(await run.waitForExit()).toBe(1);
  expect(run.output().trim()).toBe(`Port ${port} is already in use. Set PORT to a different port.`);
  await new Promise((resolve) => otherServer.close(resolve));
});

test('startup without a revocation endpoint warns the operator', async () => {
  const { OAUTH2_ISSUER: _, ...rest } = validEnv;
  const endpoints = {
    OAUTH2_AUTHORIZATION_URL: 'http://localhost:1/a',
    OAUTH2_TOKEN_URL: 'http://localhost:1/t',
  };
  const run = start({ ...rest, ...endpoints, PORT: await freePort() });
  await run.waitForOutput('OAUTH2_REVOCATION_URL');
  run.child.kill('SIGINT');
  expect(await run.waitForExit()).toBe(0);
});

test('npm run demo starts, lets a user sign in, and stops on Ctrl-C', async () => {
  const [PORT, DEMO_PROVIDER_PORT] = [await freePort(), await freePort()];
  const run = watch(
    spawn('npm', ['run', '--silent', 'demo'], {
      cwd: root,
      env: { ...process.env, PORT, DEMO_PROVIDER_PORT },
      detached: true, // a process group of its own, as a terminal would give it
    }),
  );
  await run.waitForOutput('Ctrl-C');
  expect(run.output()).toContain(`http://localhost:${PORT}`);
  const browser = new Browser(`http://localhost:${PORT}`);
  const page = await finishSignIn(browser, await browser.go('/auth/login'));
  expect(page.text).toContain('Alice Liddell');
  expect((await browser.fetch('/api/data')).status).toBe(200);
  process.kill(-run.child.pid!, 'SIGINT');
  expect(await run.waitForExit()).toBe(0);
  await expect(browser.fetch('/healthz')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
}, 60_000);

test('npm run demo on a port in use prints one line that names the port and the variable that sets it', async () => {
  const { server, origin } = await listenOnFreePort();
  const port = new URL(origin).port;
  const run = watch(
    spawn('npm', ['run', '--silent', 'demo'], {
      cwd: root,
      env: { ...process.env, PORT: await freePort(), DEMO_PROVIDER_PORT: port },
    }),
  );
  expect(await run.waitForExit()).toBe(1);
  expect(run.output()).toMatch(new RegExp(`^Port ${port} is already in use. Set DEMO_PROVIDER_PORT.*$`, 'm'));
  await new Promise((resolve) => server.close(resolve));
}, 60_000);
