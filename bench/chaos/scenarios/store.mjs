import { freePorts } from '../harness/ports.mjs';
import { startRedis } from '../harness/redis.mjs';
import { startTcpProxy } from '../harness/tcp-proxy.mjs';
import { explain } from './lost-grants.mjs';
import { judge, lifetimes, throughFault } from './store-traffic.mjs';

const processes = 3;
const peopleOf = (short) => (short ? 10 : 40);
const holdMsOf = (short) => (short ? 3000 : 5000);

/** Redis goes away in every way it can, under people whose tokens are good and people who must refresh. */
export const store = {
  name: 'store',
  done: (short) =>
    `${processes} processes, ${peopleOf(short)} sessions (half must refresh), Redis away ${holdMsOf(short) / 1000} s in five ways`,
  promises: {
    killed: 'Redis killed: 503 in 2 s, no cookie, pages 200, then the same cookies work',
    paused: 'Redis paused: the same',
    partitioned: 'Redis behind a partition: the same',
    readOnly: 'Redis read-only: served or 503, the rest the same',
    outOfMemory: 'Redis out of memory: served or 503, the rest the same',
  },

  async run({ short, open, closing, check, note }) {
    const redis = closing(await startRedis());
    const proxy = closing(await startTcpProxy(redis.port));
    const world = await open({
      processes,
      redisUrl: `redis://127.0.0.1:${proxy.port}`,
      settings: { lifetimes },
    });
    const half = peopleOf(short) / 2;
    const people = [...(await world.signIn(half, 'steady')), ...(await world.signIn(half, 'brief'))];
    await world.provider.befall({ path: 'token', delayMs: [50, 250] });
    const [nobody] = await freePorts(1);

    const faults = {
      killed: { begin: () => redis.kill(), end: () => redis.start() },
      paused: { begin: () => redis.pause(), end: () => redis.resume() },
      partitioned: { begin: () => proxy.partition(), end: () => proxy.heal() },
      readOnly: {
        begin: () => redis.command('REPLICAOF', '127.0.0.1', nobody),
        end: () => redis.command('REPLICAOF', 'NO', 'ONE'),
      },
      outOfMemory: {
        begin: () => redis.command('CONFIG', 'SET', 'maxmemory', '1'),
        end: () => redis.command('CONFIG', 'SET', 'maxmemory', '0'),
      },
    };
    for (const [key, fault] of Object.entries(faults)) {
      const stillReads = key === 'readOnly' || key === 'outOfMemory';
      const seen = await throughFault(world, people, fault, holdMsOf(short));
      check(key, ...judge(seen, stillReads ? ['200', '503'] : ['503']));
      for (const name of seen.loggedOut) note(`${key}: ${name} ${await storyOf(name, world)}`);
      for (const person of people.filter(({ name }) => seen.loggedOut.has(name)))
        await person.signIn(world.instances[0]);
    }
    const { reuseDetections, answersLost, grants } = await world.provider.counters();
    note(
      `${grants.refresh_token} refreshes, ${reuseDetections} reuse detections, ${answersLost} answers lost`,
    );
  },
};

async function storyOf(name, { provider, instances }) {
  return explain(name, await provider.attempts(), await provider.tokens(), instances).story;
}
