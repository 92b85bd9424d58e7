import { freePorts } from '../harness/ports.mjs';
import { startRedis } from '../harness/redis.mjs';
import { startTcpProxy } from '../harness/tcp-proxy.mjs';
import { explainLogout } from './logout-causes.mjs';
import { evaluate, lifetimes, runTrafficDuringFault } from './store-traffic.mjs';

const processes = 3;
const usersFor = (short) => (short ? 10 : 40);
const faultMsFor = (short) => (short ? 3000 : 5000);

/** Redis becomes unavailable in five ways, for users with valid tokens and users who need a refresh. */
export const store = {
  name: 'store',
  describe: (short) =>
    `${processes} processes, ${usersFor(short)} sessions (half need a refresh), Redis unavailable ${faultMsFor(short) / 1000} s in five ways`,
  promises: {
    killed: 'Redis killed: 503 within 2 s; no cookie changes; pages return 200; later the same cookies work',
    paused: 'Redis paused: the same',
    partitioned: 'Redis behind a partition: the same',
    readOnly: 'Redis read-only: 200 or 503, otherwise the same',
    outOfMemory: 'Redis out of memory: 200 or 503, otherwise the same',
  },

  async run({ short, deploy, closeAtEnd, check, note }) {
    const redis = closeAtEnd(await startRedis());
    const proxy = closeAtEnd(await startTcpProxy(redis.port));
    const deployment = await deploy({
      processes,
      redisUrl: `redis://127.0.0.1:${proxy.port}`,
      settings: { lifetimes },
    });
    const half = usersFor(short) / 2;
    const users = [...(await deployment.signIn(half, 'steady')), ...(await deployment.signIn(half, 'brief'))];
    await deployment.provider.setFaults({ path: 'token', delayMs: [50, 250] });
    const [unusedPort] = await freePorts(1);

    const faults = {
      killed: { begin: () => redis.kill(), end: () => redis.start() },
      paused: { begin: () => redis.pause(), end: () => redis.resume() },
      partitioned: { begin: () => proxy.partition(), end: () => proxy.heal() },
      readOnly: {
        begin: () => redis.command('REPLICAOF', '127.0.0.1', unusedPort),
        end: () => redis.command('REPLICAOF', 'NO', 'ONE'),
      },
      outOfMemory: {
        begin: () => redis.command('CONFIG', 'SET', 'maxmemory', '1'),
        end: () => redis.command('CONFIG', 'SET', 'maxmemory', '0'),
      },
    };
    for (const [key, fault] of Object.entries(faults)) {
      const isReadable = key === 'readOnly' || key === 'outOfMemory';
      const result = await runTrafficDuringFault(deployment, users, fault, faultMsFor(short));
      check(key, ...evaluate(result, isReadable ? ['200', '503'] : ['503']));
      for (const name of result.loggedOut) note(`${key}: ${name} ${await explain(name, deployment)}`);
      for (const user of users.filter(({ name }) => result.loggedOut.has(name)))
        await user.signIn(deployment.instances[0]);
    }
    const { reuseDetections, lostResponses, grants } = await deployment.provider.counters();
    note(
      `${grants.refresh_token} refreshes, ${reuseDetections} reuse detections, ${lostResponses} responses lost`,
    );
  },
};

async function explain(name, { provider, instances }) {
  return explainLogout(name, await provider.attempts(), await provider.tokens(), instances).explanation;
}
