import { startSentinels } from '../harness/redis-topologies.mjs';
import { waitFor } from '../harness/wait-for.mjs';
import { evaluate, lifetimes, runTrafficDuringFault } from './store-traffic.mjs';

const processes = 3;
const usersFor = (short) => (short ? 10 : 40);

/** The Redis master is killed, and the sentinels promote a replica. */
export const sentinel = {
  name: 'sentinel',
  describe: (short) =>
    `${processes} processes, ${usersFor(short)} sessions (half need a refresh), Redis Sentinel, the master killed`,
  promises: {
    failover: '200, or 503 within 2 s; no cookie changes; pages return 200; later the same cookies work',
  },

  async run({ short, deploy, closeAtEnd, check, note }) {
    const sentinels = closeAtEnd(await startSentinels());
    const deployment = await deploy({
      processes,
      redisUrl: sentinels.url,
      env: { REDIS_WAIT_REPLICAS: '1' },
      settings: { lifetimes },
    });
    const half = usersFor(short) / 2;
    const users = [...(await deployment.signIn(half, 'steady')), ...(await deployment.signIn(half, 'brief'))];
    await deployment.provider.setFaults({ path: 'token', delayMs: [50, 250] });
    const portBefore = await sentinels.masterPort();
    let failoverMs;
    const result = await runTrafficDuringFault(
      deployment,
      users,
      {
        begin: () => sentinels.master.kill(),
        end: async () => {
          const startedAt = Date.now();
          await waitFor(async () => (await sentinels.masterPort()) !== portBefore, 20_000);
          failoverMs = Date.now() - startedAt;
        },
      },
      700,
    );
    check('failover', ...evaluate(result, ['200', '503']));
    const { reuseDetections, grants } = await deployment.provider.counters();
    note(
      `new master elected ${failoverMs + 800} ms after the kill; ${grants.refresh_token} refreshes, ${reuseDetections} reuse detections`,
    );
  },
};
