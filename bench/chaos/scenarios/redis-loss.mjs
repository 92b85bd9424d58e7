import { startCluster, waitForReplication } from '../harness/redis-topologies.mjs';
import { countByStatus, formatCounts, sum } from '../harness/stats.mjs';
import { delay, mapConcurrently, waitFor } from '../harness/wait-for.mjs';
import {
  callUntilServed,
  checkSessions,
  measureSessions,
  sessionPromises,
  signInExpired,
  startRefreshes,
} from './refreshes-in-outage.mjs';

const processes = 3;
const usersFor = (short) => (short ? 9 : 30);
const maxRevocationMs = 30_000;

/** Redis loses all its data, and with it the consumer group of the outbox. */
export const storeLost = {
  name: 'store-lost',
  describe: (short) =>
    `${processes} processes, ${usersFor(short)} users sign out on all of them, FLUSHALL; the users sign in and out again while the revocation endpoint is first down for 2 s`,
  promises: {
    signOut: 'every sign-in and sign-out works, before and after the loss',
    provider: 'afterwards none of their tokens is active at the provider, without a restart',
    stream: 'the stream of pending revocations is empty',
  },

  async run({ app, short, deploy, check, note }) {
    const deployment = await deploy({ processes, settings: { accessTokenSeconds: 300 } });
    const { provider, redis, instances } = deployment;
    const users = await deployment.signIn(usersFor(short));
    const accounts = users.map(({ name }) => name);
    const signOutAll = () =>
      mapConcurrently([...users.entries()], 6, ([index, user]) => user.signOut(instances[index % processes]));
    const countActive = async () => (await provider.introspectTokens(accounts)).active.length;
    const countPending = async () => {
      const streams = await redis.keys(app.revocationStreamPattern);
      return sum(await Promise.all(streams.map((key) => redis.command('XLEN', key))));
    };
    const isDone = async () => (await countActive()) === 0 && (await countPending()) === 0;

    const before = await signOutAll();
    if (!(await waitFor(isDone, maxRevocationMs, 200))) throw new Error('the first tokens were not revoked');
    await redis.command('FLUSHALL');
    await mapConcurrently([...users.entries()], 6, ([index, user]) =>
      user.signIn(instances[(index + 1) % processes]),
    );
    await provider.setFaults({ path: 'revocation', response: { status: 503 } });
    const after = await signOutAll();
    await delay(2000);
    const pending = await countPending();
    await provider.setFaults();
    const upAt = Date.now();
    await waitFor(isDone, maxRevocationMs, 200);

    const logouts = [...before, ...after];
    check(
      'signOut',
      logouts.every(({ next }) => next !== undefined),
      formatCounts(countByStatus(logouts)),
    );
    const { checked, active } = await provider.introspectTokens(accounts);
    check(
      'provider',
      active.length === 0,
      `${active.length} of ${checked} tokens active ${((Date.now() - upAt) / 1000).toFixed(1)} s after the recovery`,
    );
    const left = await countPending();
    check('stream', pending > 0 && left === 0, `${pending} pending during the fault, ${left} at the end`);
    const { revocationRequests } = await provider.counters();
    note(`${revocationRequests} revocation requests`);
  },
};

const sessionsFor = (short) => (short ? 12 : 24);
const nodeTimeoutMs = 1500;
const takeoverMs = 8000;
const maxServedSeconds = 10;

/** A master of a Redis Cluster is killed during refreshes; its replica takes over at once, or after the leases expired. */
export const clusterFailover = {
  name: 'cluster-failover',
  describe: (short) =>
    `${processes} processes, Redis Cluster of 3 masters and 3 replicas, ${sessionsFor(short)} refreshes in progress, a master killed; its replica is elected (provider responds after 5 s); the same with another master, and a takeover after ${takeoverMs / 1000} s (9 s)`,
  promises: {
    shard: 'the killed masters had sessions, and their replicas had them too',
    ...sessionPromises(maxServedSeconds),
  },

  async run({ app, short, deploy, closeAtEnd, check, note }) {
    const cluster = closeAtEnd(await startCluster({ hasReplicas: true, nodeTimeoutMs }));
    const deployment = await deploy({ processes, redisUrl: cluster.url });
    const { instances } = deployment;
    const measured = [];
    const shards = [];
    for (const { shard, responseMs, isElected } of [
      { shard: 0, responseMs: 5000, isElected: true },
      { shard: 1, responseMs: 9000, isElected: false },
    ]) {
      const [master, replica] = [cluster.masters[shard], cluster.replicas[shard]];
      if (!isElected) await replica.command('CONFIG', 'SET', 'cluster-replica-no-failover', 'yes');
      const users = await signInExpired(deployment, sessionsFor(short), `shard-${shard}`);
      const calls = await startRefreshes(deployment, users, instances, responseMs);
      const responses = callUntilServed(users, instances);
      await delay(200);
      await waitForReplication(master, replica);
      const count = async (node) => (await node.keys(app.tokenKeyPattern)).length;
      shards.push({ master: await count(master), replica: await count(replica) });
      const killedAt = Date.now();
      await master.kill();
      if (!isElected) {
        await delay(takeoverMs);
        await replica.command('CLUSTER', 'FAILOVER', 'TAKEOVER');
      }
      const isBack = async () =>
        /role:master/.test(await replica.command('INFO', 'replication')) &&
        /cluster_state:ok/.test(await replica.command('CLUSTER', 'INFO'));
      if (!(await waitFor(isBack, 30_000))) throw new Error('the replica did not take over');
      const backAt = Date.now();
      const all = [...(await responses), ...(await Promise.all(calls))];
      measured.push(
        await measureSessions(deployment, {
          label: isElected ? 'election' : 'takeover',
          users,
          responses: all,
          backAt,
          refreshOn: instances,
        }),
      );
      note(
        `${isElected ? 'election' : 'takeover'}: the shard was back ${backAt - killedAt} ms after the kill`,
      );
    }
    check(
      'shard',
      shards.every(({ master, replica }) => master > 0 && replica === master),
      shards.map(({ master, replica }) => `${master} sessions, ${replica} on the replica`).join('; '),
    );
    checkSessions(measured, maxServedSeconds, { check, note });
  },
};
