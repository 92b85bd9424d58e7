import { randomItem } from '../harness/random.mjs';
import { startCluster } from '../harness/redis-topologies.mjs';
import { delay, mapConcurrently, waitFor } from '../harness/wait-for.mjs';

const processes = 2;
const count = 30;

/** From sign-in to sign-out on a Redis Cluster, where a command may only touch keys of one slot. */
export const cluster = {
  name: 'cluster',
  describe: () =>
    `${processes} processes, Redis Cluster of 3 masters, ${count} sessions from sign-in to sign-out`,
  promises: {
    spread: 'every master stores sessions',
    calls: 'calls and refreshes work',
    logout: 'after the logouts no token is active at the provider and no token record is left in Redis',
  },

  async run({ app, deploy, closeAtEnd, check }) {
    const redis = closeAtEnd(await startCluster());
    const deployment = await deploy({
      processes,
      redisUrl: redis.url,
      settings: { accessTokenSeconds: 1 },
    });
    const { provider, instances } = deployment;
    const users = await deployment.signIn(count);
    const keysPerNode = await redis.keysPerNode(app.tokenKeyPattern);
    await delay(1050);
    const calls = await mapConcurrently(users, 8, (user) => user.callApi(randomItem(instances)));
    const refreshes = await mapConcurrently(users, 8, (user) => user.refresh(randomItem(instances)));
    const successes = [...calls, ...refreshes].filter(({ status }) => status === 200).length;
    const logouts = await mapConcurrently(users, 8, (user) => user.signOut(randomItem(instances)));
    const redirects = logouts.filter(({ next }) => next !== undefined).length;
    const accounts = users.map(({ name }) => name);
    await waitFor(async () => (await provider.introspectTokens(accounts)).active.length === 0, 10_000, 300);
    const { checked, active } = await provider.introspectTokens(accounts);
    const remainingKeys = await redis.keysPerNode(app.tokenKeyPattern);

    check(
      'spread',
      keysPerNode.every((each) => each > 0) && keysPerNode.reduce((a, b) => a + b) === count,
      `${keysPerNode.join(', ')} token records`,
    );
    check(
      'calls',
      successes === count * 2 && deployment.incidents.length === 0,
      `${successes} of ${count * 2} returned 200`,
    );
    check(
      'logout',
      redirects === logouts.length && active.length === 0 && remainingKeys.every((each) => each === 0),
      `${redirects} logouts, ${active.length} of ${checked} tokens active, ${remainingKeys.join(', ')} keys left`,
    );
  },
};
