import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import request from 'supertest';
import { buildApp } from '../support/build.ts';
import { startLatchkeyProcess } from '../support/latchkey-process.ts';
import {
  type Certificate,
  createCertificate,
  startCluster,
  startSentinel,
  startServer,
  startSingle,
  type Topology,
} from '../support/redis-topologies.ts';

const password = 'a:b/c@d?e#f%g';
const encoded = encodeURIComponent(password);
const withPassword = { args: ['--requirepass', password], admin: { password } };

let buildDir: string;
let tls: Certificate;
beforeAll(() => {
  buildDir = buildApp();
  tls = createCertificate();
}, 60_000);
afterAll(() => {
  rmSync(buildDir, { recursive: true, force: true });
  tls.remove();
});

let topology: Pick<Topology, 'close'> | undefined;
afterEach(async () => {
  await topology?.close();
});

/** A rate limit is reported only when Redis has counted the request. */
async function expectConnection(env: Readonly<Record<string, string>>): Promise<void> {
  const app = startLatchkeyProcess(buildDir, { NODE_EXTRA_CA_CERTS: tls.cert, ...env });
  try {
    const response = await request(await app.listening()).get('/auth/session');
    expect(response.headers.ratelimit).toMatch(/^"auth"/);
  } finally {
    app.close();
  }
}

async function use<T extends Topology>(started: Promise<T>): Promise<T> {
  topology = await started;
  return topology as T;
}

test('a password with every special character works when it is percent-encoded', async () => {
  const { url } = await use(startSingle(withPassword));
  await expectConnection({ REDIS_URL: url.replace('://', `://:${encoded}@`) });
});

test('Redis is reached through a Unix socket, in the database of ?db=', async () => {
  const path = join(tmpdir(), `latchkey ${process.pid}.sock`);
  const server = await startServer({
    args: ['--unixsocket', path, ...withPassword.args],
    admin: { password },
  });
  topology = { close: async () => server.close() };
  await expectConnection({ REDIS_URL: `unix://:${encoded}@${path.replace(' ', '%20')}?db=3` });
  expect(await server.admin.info('keyspace')).toContain('db3:');
});

test('?family=4 reaches a server that listens on IPv4 only', async () => {
  const { url } = await use(startSingle());
  await expectConnection({ REDIS_URL: `${url.replace('127.0.0.1', 'localhost')}?family=4` });
});

test('a server with TLS and a private authority is reached with NODE_EXTRA_CA_CERTS', async () => {
  const { url } = await use(startSingle({ ...withPassword, tls }));
  await expectConnection({ REDIS_URL: url.replace('redis://', `rediss://:${encoded}@`) });
});

test('sentinels with a password are reached, which is not the one of the server', async () => {
  const sentinel = 'another-password';
  const { url } = await use(
    startSentinel({
      master: withPassword,
      config: `requirepass ${sentinel}\nsentinel auth-pass main "${password}"`,
      admin: { password: sentinel },
    }),
  );
  await expectConnection({
    REDIS_URL: url.replace('://', `://:${encoded}@`),
    REDIS_SENTINEL_PASSWORD: sentinel,
  });
});

test('rediss+sentinel:// uses TLS for the sentinels and for the server', async () => {
  const { url } = await use(startSentinel({ master: { tls } }));
  await expectConnection({ REDIS_URL: `${url.replace('redis+', 'rediss+')}?db=2` });
});

test('rediss+cluster:// uses TLS for every node', async () => {
  const { url } = await use(startCluster({ ...withPassword, tls }));
  await expectConnection({ REDIS_URL: url.replace('redis+cluster://', `rediss+cluster://:${encoded}@`) });
});

test('a cluster is reached through an address that its nodes do not announce, also with TLS', async () => {
  const { url } = await use(startCluster({ tls }));
  await expectConnection({ REDIS_URL: url.replace('redis+', 'rediss+').replace('127.0.0.1', 'localhost') });
});
