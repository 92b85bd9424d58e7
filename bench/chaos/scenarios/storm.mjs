import { countByStatus, formatCounts, formatDurations } from '../harness/stats.mjs';
import { createTimeline } from '../harness/timeline.mjs';
import { delay } from '../harness/wait-for.mjs';

const processes = 4;
const calls = 200;
const tokenMs = 1000;
const roundsFor = (short) => (short ? 10 : 100);

/** Many parallel calls at the moment one session's access token expires. */
export const storm = {
  name: 'storm',
  describe: (short) =>
    `${processes} processes, 1 session, ${calls} parallel calls at expiry x ${roundsFor(short)} rounds, provider delayed 0-500 ms`,
  promises: {
    grants: 'exactly 1 grant per round (short form, for busy machines: per token expiry)',
    reuse: 'no refresh token is used twice',
    calls: 'no call fails',
  },

  async run({ short, deploy, check, note, setTimeline }) {
    const rounds = roundsFor(short);
    const deployment = await deploy({ processes, settings: { accessTokenSeconds: tokenMs / 1000 } });
    const { provider, instances } = deployment;
    const [user] = await deployment.signIn(1);
    await provider.setFaults({ path: 'token', delayMs: [0, 500] });

    const responses = [];
    const startedAt = Date.now();
    const call = async (instance) => {
      const { status, error, ms } = await user.callApi(instance);
      responses.push({ status, error, ms, at: Date.now() });
    };
    for (let round = 0; round < rounds; round += 1) {
      const last = (await provider.attempts(user.name)).at(-1);
      // Every other round starts while the token is still valid, but already due for a refresh.
      const startAt = last.respondedAt + tokenMs + (round % 2 === 0 ? 20 : -150);
      await delay(Math.max(0, startAt - Date.now()));
      await Promise.all(Array.from({ length: calls }, (_, index) => call(instances[index % processes])));
      await waitUntilIdle(provider, user.name, round + 1);
    }

    const { reuseDetections, perSecond } = await provider.counters();
    setTimeline(createTimeline(responses, perSecond, startedAt, Date.now()));
    const { grants, early } = await countRefreshes(provider, user.name);
    const extra = grants > rounds ? `, ${grants - rounds} of them because a round outlasted its token` : '';
    check(
      'grants',
      early === 0 && (short ? grants >= rounds : grants === rounds),
      `${grants} grants in ${rounds} rounds${extra}, ${early} for a token still fresh`,
    );
    check('reuse', reuseDetections === 0, `${reuseDetections} reuse detections`);
    check(
      'calls',
      responses.every(({ status }) => status === 200),
      formatCounts(countByStatus(responses)),
    );
    note(formatDurations(responses));
  },
};

/**
 * Resolves when this round's refresh is complete and none is in flight. A background refresh may reach the provider
 * after the last response. A round without a refresh ends after one token lifetime.
 */
async function waitUntilIdle(provider, account, refreshes) {
  const deadline = Date.now() + tokenMs;
  for (;;) {
    const attempts = await provider.attempts(account);
    const isIdle = attempts.every(({ respondedAt, lostAt }) => respondedAt ?? lostAt);
    const isRefreshed = attempts.length > refreshes; // the first attempt was the login
    if (isIdle && (isRefreshed || Date.now() > deadline)) return;
    await delay(20);
  }
}

/**
 * The number of refreshes, and of those that came too `early`: a token is due after four fifths of its lifetime, and on
 * a busy machine a round may last until then.
 */
async function countRefreshes(provider, account) {
  const granted = (await provider.attempts(account)).filter(({ outcome }) => outcome === 'granted');
  const ages = granted.slice(1).map(({ at }, index) => at - granted[index].respondedAt);
  return { grants: ages.length, early: ages.filter((age) => age < tokenMs * 0.8).length };
}
