import { startSentinels } from '../harness/redis-groups.mjs';
import { until } from '../harness/waiting.mjs';
import { judge, lifetimes, throughFault } from './store-traffic.mjs';

const processes = 3;
const peopleOf = (short) => (short ? 10 : 40);

/** The master is killed, and the sentinels make a replica the new one. */
export const sentinel = {
  name: 'sentinel',
  done: (short) =>
    `${processes} processes, ${peopleOf(short)} sessions (half must refresh), Redis Sentinel, the master killed`,
  promises: {
    failover: '503 in 2 s or served, no cookie, pages 200, then the same cookies work',
  },

  async run({ short, open, closing, check, note }) {
    const sentinels = closing(await startSentinels());
    const world = await open({
      processes,
      redisUrl: sentinels.url,
      env: { REDIS_WAIT_REPLICAS: '1' },
      settings: { lifetimes },
    });
    const half = peopleOf(short) / 2;
    const people = [...(await world.signIn(half, 'steady')), ...(await world.signIn(half, 'brief'))];
    await world.provider.befall({ path: 'token', delayMs: [50, 250] });
    const before = await sentinels.masterPort();
    let tookMs;
    const seen = await throughFault(
      world,
      people,
      {
        begin: () => sentinels.master.kill(),
        end: async () => {
          const begun = Date.now();
          await until(async () => (await sentinels.masterPort()) !== before, 20_000);
          tookMs = Date.now() - begun;
        },
      },
      700,
    );
    check('failover', ...judge(seen, ['200', '503']));
    const { reuseDetections, grants } = await world.provider.counters();
    note(
      `new master named ${tookMs + 800} ms after the kill; ${grants.refresh_token} refreshes, ${reuseDetections} reuse detections`,
    );
  },
};
