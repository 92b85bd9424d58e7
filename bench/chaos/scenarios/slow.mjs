import { randomBetween } from '../harness/random.mjs';
import { countByStatus, formatCounts, formatDurations } from '../harness/stats.mjs';
import { delay } from '../harness/wait-for.mjs';

const processes = 4;
const calls = 60;
const leaseSeconds = 2;
const providerSeconds = 8;

/** A provider whose response takes longer than the lease that guards a refresh. */
export const slow = {
  name: 'slow',
  describe: () =>
    `lease ${leaseSeconds} s, provider responds after ${providerSeconds} s, ${calls} calls meanwhile on ${processes} processes`,
  promises: {
    grants: 'the provider receives one refresh request',
    waiters: 'every waiting call succeeds',
    reuse: 'no refresh token is used twice',
  },

  async run({ deploy, check, note }) {
    const deployment = await deploy({ processes, settings: { accessTokenSeconds: 1 } });
    const { provider, instances } = deployment;
    const [user] = await deployment.signIn(1);
    await provider.configure({ accessTokenSeconds: 60 });
    await delay(1050);
    await provider.setFaults({ path: 'token', delayMs: providerSeconds * 1000 });
    const requestsBefore = (await provider.counters()).tokenRequests;

    const waiting = Array.from({ length: calls }, async (_, index) => {
      if (index >= processes) await delay(randomBetween(0, (providerSeconds - 1) * 1000));
      return user.callApi(instances[index % processes], { timeoutMs: 30_000 });
    });
    const responses = await Promise.all(waiting);
    const { tokenRequests, grants, reuseDetections } = await provider.counters();
    const requests = tokenRequests - requestsBefore;
    check(
      'grants',
      requests === 1 && grants.refresh_token === 1,
      `requests: ${requests}, grants: ${grants.refresh_token}`,
    );
    check(
      'waiters',
      responses.every(({ status }) => status === 200),
      formatCounts(countByStatus(responses)),
    );
    check('reuse', reuseDetections === 0, `${reuseDetections} reuse detections`);
    note(formatDurations(responses));
  },
};
