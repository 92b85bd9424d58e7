import { pick } from '../harness/chance.mjs';
import { startCluster } from '../harness/redis-groups.mjs';
import { delay, eachOf, until } from '../harness/waiting.mjs';

const processes = 2;
const count = 30;

/** The whole flow on a Redis Cluster, whose commands may only touch keys of one slot. */
export const cluster = {
  name: 'cluster',
  done: () => `${processes} processes, Redis Cluster of 3 masters, ${count} sessions through the whole flow`,
  promises: {
    spread: 'sessions lie on every master',
    calls: 'calls and refreshes work',
    logout: 'logouts leave nothing alive, at the provider or in Redis',
  },

  async run({ app, open, closing, check }) {
    const redis = closing(await startCluster());
    const world = await open({ processes, redisUrl: redis.url, settings: { accessTokenSeconds: 1 } });
    const { provider, instances } = world;
    const people = await world.signIn(count);
    const spread = await redis.keysPerNode(app.tokenKeys);
    await delay(1050);
    const calls = await eachOf(people, 8, (person) => person.api(pick(instances)));
    const refreshes = await eachOf(people, 8, (person) => person.refresh(pick(instances)));
    const good = [...calls, ...refreshes].filter(({ status }) => status === 200).length;
    const logouts = await eachOf(people, 8, (person) => person.logOut(pick(instances)));
    const accounts = people.map(({ name }) => name);
    await until(async () => (await provider.alive(accounts)).active.length === 0, 10_000, 300);
    const { asked, active } = await provider.alive(accounts);
    const left = await redis.keysPerNode(app.tokenKeys);

    check(
      'spread',
      spread.every((each) => each > 0) && spread.reduce((a, b) => a + b) === count,
      spread.join(', '),
    );
    check(
      'calls',
      good === count * 2 && world.incidents.length === 0,
      `${good} of ${count * 2} answered 200`,
    );
    check(
      'logout',
      logouts.every(({ status }) => status === 303) &&
        active.length === 0 &&
        left.every((each) => each === 0),
      `${logouts.filter(({ status }) => status === 303).length} logouts, ${active.length} of ${asked} tokens active, ${left.join(', ')} keys left`,
    );
  },
};
