import { between } from '../harness/chance.mjs';
import { durations, inWords, tally } from '../harness/figures.mjs';
import { delay } from '../harness/waiting.mjs';

const processes = 4;
const calls = 60;
const leaseSeconds = 2;
const providerSeconds = 8;

/** A provider slower than the lease that guards a refresh. */
export const slow = {
  name: 'slow',
  done: () =>
    `lease ${leaseSeconds} s, provider takes ${providerSeconds} s, ${calls} calls meanwhile on ${processes} processes`,
  promises: {
    grants: 'the provider is asked once',
    waiters: 'every waiter is answered',
    reuse: 'no refresh token is used twice',
  },

  async run({ open, check, note }) {
    const world = await open({ processes, settings: { accessTokenSeconds: 1 } });
    const { provider, instances } = world;
    const [person] = await world.signIn(1);
    await provider.set({ accessTokenSeconds: 60 });
    await delay(1050);
    await provider.befall({ path: 'token', delayMs: providerSeconds * 1000 });
    const before = (await provider.counters()).tokenRequests;

    const waiting = Array.from({ length: calls }, async (_, index) => {
      if (index >= processes) await delay(between(0, (providerSeconds - 1) * 1000));
      return person.api(instances[index % processes], { timeoutMs: 30_000 });
    });
    const answers = await Promise.all(waiting);
    const { tokenRequests, grants, reuseDetections } = await provider.counters();
    const asked = tokenRequests - before;
    check(
      'grants',
      asked === 1 && grants.refresh_token === 1,
      `${asked} requests, ${grants.refresh_token} grants`,
    );
    check(
      'waiters',
      answers.every(({ status }) => status === 200),
      inWords(tally(answers)),
    );
    check('reuse', reuseDetections === 0, `${reuseDetections} reuse detections`);
    note(durations(answers));
  },
};
