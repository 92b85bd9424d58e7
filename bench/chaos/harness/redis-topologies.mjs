import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePorts } from './ports.mjs';
import { startProcess, stopProcess, tempFolder } from './processes.mjs';
import { startRedis } from './redis.mjs';
import { waitFor } from './wait-for.mjs';

/** Starts a master, two replicas and three sentinels, which elect a new master 1-2 s after the old one fails. */
export async function startSentinels() {
  const master = await startRedis();
  const replicas = await Promise.all(
    [1, 2].map(() => startRedis({ args: ['--replicaof', '127.0.0.1', master.port] })),
  );
  const ports = await freePorts(3);
  const children = ports.map((port) => {
    const folder = join(tempFolder, `sentinel-${port}`);
    mkdirSync(folder);
    const file = join(folder, 'sentinel.conf');
    writeFileSync(
      file,
      `port ${port}
bind 127.0.0.1
dir ${folder}
sentinel monitor main 127.0.0.1 ${master.port} 2
sentinel down-after-milliseconds main 1000
sentinel failover-timeout main 5000
`,
    );
    return startProcess(`sentinel-${port}`, 'redis-server', [file, '--sentinel']);
  });
  const sentinel = new Redis(ports[0], '127.0.0.1', { retryStrategy: () => 50 });
  sentinel.on('error', () => {});
  const field = (list, name) => list[list.indexOf(name) + 1];
  const isReady = await waitFor(async () => {
    const state = await sentinel.call('SENTINEL', 'MASTER', 'main').catch(() => []);
    return Number(field(state, 'num-other-sentinels')) === 2 && Number(field(state, 'num-slaves')) === 2;
  }, 20_000);
  if (!isReady) throw new Error('the sentinels did not discover each other');

  return {
    url: `redis+sentinel://${ports.map((port) => `127.0.0.1:${port}`).join(',')}/main`,
    master,
    /** The port of the master the sentinels currently report. */
    masterPort: async () => Number((await sentinel.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'main'))[1]),
    async close() {
      sentinel.disconnect();
      await Promise.all(children.map((child) => stopProcess(child)));
      await Promise.all([master, ...replicas].map((each) => each.close()));
    },
  };
}

/** Starts three masters that share the hash slots. */
export async function startCluster() {
  const busPorts = await freePorts(3);
  const nodes = await Promise.all(
    busPorts.map((busPort) => startRedis({ args: ['--cluster-enabled', 'yes', '--cluster-port', busPort] })),
  );
  const ranges = [
    [0, 5460],
    [5461, 10922],
    [10923, 16383],
  ];
  for (const [index, node] of nodes.entries()) {
    await node.command('CLUSTER', 'ADDSLOTSRANGE', ...ranges[index]);
    await node.command('CLUSTER', 'SET-CONFIG-EPOCH', index + 1);
  }
  for (const [index, node] of nodes.entries())
    if (index > 0) await nodes[0].command('CLUSTER', 'MEET', '127.0.0.1', node.port, busPorts[index]);
  const isReady = await waitFor(async () => {
    const states = await Promise.all(nodes.map((node) => node.command('CLUSTER', 'INFO')));
    return states.every((state) => /cluster_state:ok/.test(state) && /cluster_known_nodes:3/.test(state));
  }, 20_000);
  if (!isReady) throw new Error('the cluster did not form');
  return {
    url: `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    /** The number of keys on each node that match this pattern. */
    keysPerNode: async (pattern) =>
      (await Promise.all(nodes.map((node) => node.keys(pattern)))).map(({ length }) => length),
    async close() {
      await Promise.all(nodes.map((node) => node.close()));
    },
  };
}
