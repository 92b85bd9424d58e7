import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import request from 'supertest';
import { buildApp } from '../support/build.ts';
import { type LatchkeyProcess, startLatchkeyProcess } from '../support/latchkey-process.ts';
import { waitFor } from '../support/redis-topologies.ts';

let buildDir: string;
let folder: string;
let latchkey: LatchkeyProcess | undefined;
beforeAll(() => {
  buildDir = buildApp();
}, 60_000);
afterAll(() => rmSync(buildDir, { recursive: true, force: true }));
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'process-logs-'));
});
afterEach(() => {
  latchkey?.close();
  rmSync(folder, { recursive: true, force: true });
});

const endpoints = {
  OAUTH2_ISSUER: '',
  OAUTH2_AUTHORIZATION_URL: 'http://localhost:1/a',
  OAUTH2_TOKEN_URL: 'http://localhost:1/t',
};
const crossSite = (origin: string) =>
  request(origin).get('/api/x').set('sec-fetch-site', 'cross-site').expect(403);
const exitOf = (process: LatchkeyProcess) => waitFor(() => process.child.exitCode !== null);

test('the log says what starts with which settings, when it is ready, and why it stops', async () => {
  latchkey = startLatchkeyProcess(buildDir, { ...endpoints, OAUTH2_TOKEN_PARAMS: 'key=a-secret-parameter' });
  await latchkey.listening();
  await waitFor(() => latchkey!.logged('Latchkey is ready: the provider metadata is available').length === 1);
  const [start] = latchkey.logged('Latchkey is starting');
  expect(start).toMatchObject({
    level: 'info',
    node: process.version,
    settings: {
      SESSION_SECRET: '[set]',
      OAUTH2_CLIENT_SECRET: '[set]',
      PORT: 0,
      SESSION_IDLE_SECONDS: 86_400,
    },
  });
  expect(JSON.parse(latchkey.stdout[0]!)).toEqual(start);
  latchkey.child.kill('SIGTERM');
  await exitOf(latchkey);
  expect(latchkey.stdout.map((line) => JSON.parse(line)).slice(-2)).toMatchObject([
    { msg: 'stopping; every response closes its connection', reason: 'SIGTERM' },
    { msg: 'Latchkey has stopped', exitCode: 0 },
  ]);
  expect(latchkey.stdout.join('')).not.toMatch(/a-secret|a-client-secret/);
}, 30_000);

test('a renamed audit file is opened again on SIGHUP, and no line is lost', async () => {
  const path = join(folder, 'audit.log');
  latchkey = startLatchkeyProcess(buildDir, { ...endpoints, AUDIT_LOG: path });
  const origin = await latchkey.listening();
  await crossSite(origin);
  await waitFor(() => readFileSync(path, 'utf8').includes('cross_site_request'));
  renameSync(path, `${path}.1`);
  latchkey.child.kill('SIGHUP');
  await waitFor(() => existsSync(path));
  await crossSite(origin);
  await waitFor(() => readFileSync(path, 'utf8').includes('cross_site_request'));
  expect(readFileSync(`${path}.1`, 'utf8').match(/\n/g)).toHaveLength(1);
  expect(latchkey.logged('audit')).toEqual([]);
}, 30_000);

test('without an audit file, SIGHUP ends the process, as a closed terminal must', async () => {
  latchkey = startLatchkeyProcess(buildDir, endpoints);
  await latchkey.listening();
  latchkey.child.kill('SIGHUP');
  await waitFor(() => latchkey!.child.signalCode === 'SIGHUP');
}, 30_000);

test('a full disk behind the audit file and a closed pipe behind standard output fail no request', async () => {
  latchkey = startLatchkeyProcess(buildDir, { ...endpoints, AUDIT_LOG: '/dev/full' });
  const origin = await latchkey.listening();
  await crossSite(origin);
  await waitFor(() => latchkey!.logged('audit').length === 1);
  latchkey.child.stdout!.destroy();
  for (let count = 0; count < 20; count += 1) await crossSite(origin);
  await request(origin).get('/healthz').expect(200);
  latchkey.child.kill('SIGTERM');
  await exitOf(latchkey);
  expect(latchkey.child.exitCode).toBe(0);
}, 30_000);

test('static files are logged at level debug only', async () => {
  latchkey = startLatchkeyProcess(buildDir, { ...endpoints });
  const origin = await latchkey.listening();
  await request(origin).get('/auth/assets/latchkey.js').expect(200);
  await crossSite(origin);
  await waitFor(() => latchkey!.logged('request completed').length > 0);
  expect(latchkey.logged('request completed')).toEqual([
    expect.objectContaining({ method: 'GET', path: '/api/x', level: 'info' }),
  ]);
}, 30_000);
