import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ConnectionOptions } from 'node:tls';
import { Cluster, Redis } from 'ioredis';
import { findRedisServer, freePort } from './redis-server.mjs';
import { combineRelays, createRelay, type Relay } from './relay.ts';

/** A Redis server of one test, with options of its own. */
export interface RedisServer {
  readonly port: number;
  readonly admin: Redis;
  close(): void;
}

/** How the connection that waits for the start signs in. */
interface AdminOptions {
  readonly username?: string;
  readonly password?: string;
  readonly tls?: ConnectionOptions;
}

export interface ServerOptions {
  readonly args?: readonly (string | number)[];
  readonly admin?: AdminOptions;
  readonly port?: number;
  /** Lines of a configuration file, which a sentinel needs. */
  readonly config?: string;
  /** Only TLS connections, with this certificate. */
  readonly tls?: Certificate;
}

/** Settles when `condition` is true; rejects after ten seconds. */
export async function waitFor(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 10_000; !(await condition()); await delay(20))
    if (Date.now() > deadline) throw new Error(`not within ten seconds: ${condition}`);
}

const children = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

/** Starts a Redis server without persistence, and waits until it responds. */
export async function startServer(options: ServerOptions = {}): Promise<RedisServer> {
  const port = options.port ?? (await freePort());
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-redis-'));
  const file = join(folder, 'redis.conf');
  const ports = options.tls
    ? `port 0\ntls-port ${port}\n${describeCertificate(options.tls)}`
    : `port ${port}`;
  const config = options.config ?? "save ''";
  writeFileSync(file, `${config}\n${ports}\nbind 127.0.0.1\ndir ${folder}\n`);
  const args = [file, ...(options.args ?? [])].map(String);
  const child = spawn(findRedisServer(), args, { stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (part: Buffer) => (output = `${output}${part}`.slice(-2_000)));
  const admin = new Redis({
    port,
    retryStrategy: () => 50,
    maxRetriesPerRequest: null,
    ...(options.tls && { tls: { rejectUnauthorized: false } }),
    ...options.admin,
  });
  admin.on('error', () => undefined); // until it has started
  await waitFor(() => {
    if (child.exitCode !== null) throw new Error(`Redis ended with code ${child.exitCode}: ${output}`);
    return admin.status === 'ready';
  });
  return {
    port,
    admin,
    close() {
      admin.disconnect();
      child.kill('SIGKILL');
      children.delete(child);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function describeCertificate({ cert, key }: Certificate): string {
  const files = `tls-cert-file ${cert}\ntls-key-file ${key}\ntls-ca-cert-file ${cert}`;
  return `${files}\ntls-auth-clients no\ntls-replication yes\ntls-cluster yes`;
}

/** Redis servers that Latchkey reaches by `url`, all through `relay`. */
export interface Topology {
  readonly url: string;
  readonly relay: Relay;
  /** A connection to each server with data, not through the relay. */
  readonly admins: readonly Redis[];
  /** The first of `admins`, which is the only one except in a cluster. */
  readonly admin: Redis;
  close(): Promise<void>;
}

async function openRelay(port: number): Promise<Relay> {
  const relay = await createRelay({ host: '127.0.0.1', port });
  await relay.open();
  return relay;
}

export async function startSingle(options: ServerOptions = {}): Promise<Topology> {
  const server = await startServer(options);
  const relay = await openRelay(server.port);
  return {
    url: `redis://127.0.0.1:${relay.port}`,
    relay,
    admins: [server.admin],
    admin: server.admin,
    async close() {
      await relay.close();
      server.close();
    },
  };
}

interface SentinelOptions {
  readonly master?: ServerOptions;
  /** Lines of the configuration file of the sentinel. */
  readonly config?: string;
  readonly admin?: AdminOptions;
}

/** A master and one sentinel, which reports the address of the relay to the master. */
export async function startSentinel({
  master = {},
  config = '',
  admin,
}: SentinelOptions = {}): Promise<Topology> {
  const server = await startServer(master);
  const relay = await openRelay(server.port);
  const sentinel = await startServer({
    args: ['--sentinel'],
    config: `sentinel monitor main 127.0.0.1 ${relay.port} 1\nsentinel down-after-milliseconds main 60000\n${config}`,
    ...(master.tls && { tls: master.tls }),
    ...(admin && { admin }),
  });
  return {
    url: `redis+sentinel://127.0.0.1:${sentinel.port}/main`,
    relay,
    admins: [server.admin],
    admin: server.admin,
    async close() {
      sentinel.close();
      await relay.close();
      server.close();
    },
  };
}

const slotCount = 16_384;
const masterCount = 3;

/** A cluster of three masters, each with a third of the slots, which announce the addresses of their relays. */
export async function startCluster(options: ServerOptions = {}): Promise<Topology> {
  const masters = await Promise.all(
    Array.from({ length: masterCount }, (_, index) => startMaster(index, options)),
  );
  for (const [index, { admin }] of masters.entries())
    for (const { relay, busPort } of masters.slice(index + 1))
      await admin.call('CLUSTER', 'MEET', '127.0.0.1', relay.port, busPort);
  for (const { admin } of masters)
    await waitFor(async () => {
      const info = String(await admin.cluster('INFO'));
      return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${masterCount}\r`);
    });
  const relay = combineRelays(masters.map((each) => each.relay));
  return {
    url: `redis+cluster://127.0.0.1:${relay.port}`,
    relay,
    admins: masters.map(({ admin }) => admin),
    admin: masters[0]!.admin,
    async close() {
      await relay.close();
      for (const { server } of masters) server.close();
    },
  };
}

export interface ConnectedCluster {
  readonly redis: Cluster;
  /** A connection to each master. */
  readonly admins: readonly Redis[];
  close(): Promise<void>;
}

/** Starts a cluster of three masters, and connects to it. */
export async function connectToCluster(): Promise<ConnectedCluster> {
  const { relay, admins, close } = await startCluster();
  const redis = new Cluster([{ host: '127.0.0.1', port: relay.port }], { enableAutoPipelining: true });
  redis.setMaxListeners(100);
  return {
    redis,
    admins,
    async close() {
      redis.disconnect();
      await close();
    },
  };
}

/** The master of a cluster with this index, and its slots. It does not know the others yet. */
async function startMaster(index: number, options: ServerOptions) {
  const busPort = await freePort();
  const args = ['--cluster-enabled', 'yes', '--cluster-port', busPort, ...(options.args ?? [])];
  const server = await startServer({ ...options, args });
  const { admin } = server;
  const relay = await openRelay(server.port);
  await admin.config('SET', 'cluster-announce-ip', '127.0.0.1');
  await admin.config('SET', 'cluster-announce-port', relay.port);
  await admin.config('SET', 'cluster-announce-tls-port', relay.port);
  const firstSlotOf = (master: number) => Math.ceil((master * slotCount) / masterCount);
  await admin.cluster('ADDSLOTSRANGE', firstSlotOf(index), firstSlotOf(index + 1) - 1);
  await admin.call('CLUSTER', 'SET-CONFIG-EPOCH', index + 1); // masters with the same one would first have to agree
  return { server, admin, relay, busPort };
}

export interface Certificate {
  readonly cert: string;
  readonly key: string;
  remove(): void;
}

/** A certificate for 127.0.0.1 that signs itself, in files of a folder that `remove` deletes. */
export function createCertificate(): Certificate {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-tls-'));
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const { status, stderr } = spawnSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'],
    ...['-keyout', key, '-out', cert],
  ]);
  if (status !== 0) throw new Error(`openssl failed: ${stderr}`);
  return { cert, key, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
