import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import request from 'supertest';
import { formatHead, sendRaw } from '../hostile/support/raw-http.ts';
import { Browser } from '../support/browser.ts';
import { buildApp, root } from '../support/build.ts';
import { listenOnFreePort } from '../support/latchkey.ts';
import { freePort, killChildren, startProcess, validEnv, watch } from '../support/processes.ts';
import { finishSignIn } from '../support/world.ts';

let buildDir: string;
beforeAll(() => {
  buildDir = buildApp();
}, 60_000);
afterAll(() => rmSync(buildDir, { recursive: true, force: true }));
afterEach(killChildren);

const start = (env: Record<string, string>) => startProcess(buildDir, env);

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
    expect((await sendRaw(origin, [each])).text).toMatch(
      /^HTTP\/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n([\w-]+: .*\r\n)+\r\n$/,
    );
  await request(origin).get('/healthz').expect(200);
  const warnings = run.output().match(/"level":"warn".*request rejected \(431\)/g);
  expect(warnings).toHaveLength(2);
  expect(run.output()).not.toMatch(/"level":"error"|xxxx/);
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

test('startup on a metrics port in use prints one line that names the port and the variable, and serves nothing', async () => {
  const { server, origin } = await listenOnFreePort();
  const { port } = new URL(origin);
  const run = start({ ...validEnv, PORT: await freePort(), METRICS_PORT: port, LOG_LEVEL: 'silent' });
  expect(await run.waitForExit()).toBe(1);
  expect(run.output().trim()).toBe(`Port ${port} is already in use. Set METRICS_PORT to a different port.`);
  await new Promise((resolve) => server.close(resolve));
});

test.each(['HOST', 'METRICS_HOST'])(
  'startup on an address that this machine does not have prints one line that names %s',
  async (variable) => {
    const ports = { PORT: await freePort(), METRICS_PORT: await freePort(), LOG_LEVEL: 'silent' };
    const run = start({ ...validEnv, ...ports, [variable]: '192.0.2.1' });
    expect(await run.waitForExit()).toBe(1);
    expect(run.output().trim()).toMatch(
      new RegExp(`^Cannot listen on 192\\.0\\.2\\.1:\\d+: ${variable} is not an address of this machine .*$`),
    );
  },
);

test('METRICS_HOST makes the metrics available outside the container', async () => {
  const outside = Object.values(networkInterfaces())
    .flat()
    .find((each) => each && !each.internal && each.family === 'IPv4')?.address;
  const port = await freePort();
  const run = start({ ...validEnv, PORT: '0', METRICS_PORT: port, METRICS_HOST: '0.0.0.0' });
  await run.waitForOutput('Latchkey is listening');
  for (const host of ['127.0.0.1', ...(outside === undefined ? [] : [outside])]) {
    const { text } = await request(`http://${host}:${port}`).get('/metrics').expect(200);
    expect(text).toContain('latchkey_revocations_pending 0');
  }
  run.child.kill('SIGTERM');
  expect(await run.waitForExit()).toBe(0);
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
