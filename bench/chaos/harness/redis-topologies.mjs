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

/**
 * Starts three masters that share the hash slots, each with a replica if `hasReplicas`. A replica replaces its master
 * 1-2 s after `nodeTimeoutMs`.
 */
export async function startCluster({ hasReplicas = false, nodeTimeoutMs = 15_000 } = {}) {
  const busPorts = await freePorts(hasReplicas ? 6 : 3);
  const nodes = await Promise.all(
    busPorts.map((busPort) =>
      startRedis({
        args: [
          ...['--cluster-enabled', 'yes', '--cluster-port', busPort],
          ...['--cluster-node-timeout', nodeTimeoutMs],
        ],
      }),
    ),
  );
  const [masters, replicas] = [nodes.slice(0, 3), nodes.slice(3)];
  const ranges = [
    [0, 5460],
    [5461, 10922],
    [10923, 16383],
  ];
  for (const [index, node] of nodes.entries()) {
    if (ranges[index]) await node.command('CLUSTER', 'ADDSLOTSRANGE', ...ranges[index]);
    await node.command('CLUSTER', 'SET-CONFIG-EPOCH', index + 1);
  }
  for (const [index, node] of nodes.entries())
    if (index > 0) await nodes[0].command('CLUSTER', 'MEET', '127.0.0.1', node.port, busPorts[index]);
  const isFormed = async () => {
    const states = await Promise.all(nodes.map((node) => node.command('CLUSTER', 'INFO')));
    const known = new RegExp(`cluster_known_nodes:${nodes.length}\\b`);
    return states.every((state) => state.includes('cluster_state:ok') && known.test(state));
  };
  if (!(await waitFor(isFormed, 20_000))) throw new Error('the cluster did not form');
  for (const [index, replica] of replicas.entries()) {
    await replica.command('CLUSTER', 'REPLICATE', await masters[index].command('CLUSTER', 'MYID'));
    const isConnected = async () =>
      /master_link_status:up/.test(await replica.command('INFO', 'replication'));
    if (!(await waitFor(isConnected, 20_000))) throw new Error('a replica did not connect to its master');
  }

  return {
    url: `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    masters,
    /** In the order of their masters. */
    replicas,
    /** The number of keys on each master that match this pattern. */
    keysPerNode: async (pattern) =>
      (await Promise.all(masters.map((node) => node.keys(pattern)))).map(({ length }) => length),
    async close() {
      await Promise.all(nodes.map((node) => node.close()));
    },
  };
}

/** Settles when the replica has every write that its master has made so far. */
export async function waitForReplication(master, replica) {
  const readOffset = async (node, field) =>
    Number(new RegExp(`${field}:(\\d+)`).exec(await node.command('INFO', 'replication'))?.[1]);
  const wanted = await readOffset(master, 'master_repl_offset');
  const hasAll = async () => (await readOffset(replica, 'slave_repl_offset')) >= wanted;
  if (!(await waitFor(hasAll, 10_000))) throw new Error('the replica did not catch up');
}
