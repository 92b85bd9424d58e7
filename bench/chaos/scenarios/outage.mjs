import { randomBetween, randomItem } from '../harness/random.mjs';
import { countByStatus, formatCounts, formatDurations, max, quantile, sum } from '../harness/stats.mjs';
import { createTimeline } from '../harness/timeline.mjs';
import { delay, waitFor } from '../harness/wait-for.mjs';

const processes = 4;
const sizeFor = (short) =>
  short
    ? { sessions: 100, downSeconds: 6, tokenSeconds: 3 }
    : { sessions: 1000, downSeconds: 60, tokenSeconds: 25 };
const steadySessions = 20;
/** The range of the pause between two calls of a user, whatever the response. */
const pauseMs = [2000, 4000];

/** Limits on token requests during the outage, for all processes: in any one second, and on average. */
// Per process, ten in parallel and seven failures in a row until its circuit breaker opens.
const maxProbesPerSecond = processes * 17;
const meanProbesPerSecond = processes * 2;
/** Max. fraction of the sessions that refresh in one second after the outage; a third of them call in each second. */
const maxSpikeShare = 0.5;
const maxRecoveryMs = 60_000;
const maxValidMs = 250;
/** A token this close to its expiry may expire on the way to the API. */
const transitMs = 2000;

const faults = [
  { status: 503 },
  'reset-before',
  'hang',
  { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>Sorry</html>' },
];

/** The token endpoint fails in four ways while the access tokens of all sessions expire. */
export const outage = {
  name: 'outage',
  describe: (short) => {
    const { sessions, downSeconds, tokenSeconds } = sizeFor(short);
    return `${processes} processes, ${sessions} sessions, tokens of ${tokenSeconds} s expiring, token endpoint down ${downSeconds} s (503, resets, hanging, HTML 200)`;
  },
  promises: {
    lost: 'no session is lost and no cookie changes',
    valid: `calls with a valid token get 200 throughout, 99 % of them within ${maxValidMs} ms`,
    expired: 'the other calls get 503 with Retry-After',
    probes: `the provider gets at most ${maxProbesPerSecond} token requests in a second, ${meanProbesPerSecond} on average`,
    spike: `no spike on recovery: at most ${maxSpikeShare * 100} % of the sessions refresh in one second`,
    recovery: 'every user gets 200 again without signing in',
  },

  async run({ short, deploy, check, note, setTimeline }) {
    const { sessions, downSeconds, tokenSeconds } = sizeFor(short);
    const deployment = await deploy({
      processes,
      settings: { accessTokenSeconds: tokenSeconds, lifetimes: { steady: 3600 } },
    });
    const steady = await deployment.signIn(steadySessions, 'steady');
    const users = await deployment.signIn(sessions);
    for (const user of steady) user.expiresAt = Infinity;
    for (const user of users) user.expiresAt = user.signedInAt + tokenSeconds * 1000;

    const result = await runOutage(deployment, [...users, ...steady], downSeconds);
    const { perSecond, grants, reuseDetections } = await deployment.provider.counters();
    const probes = countsPerSecond(perSecond, 'token', result.downAt, result.upAt);
    const refreshes = countsPerSecond(perSecond, 'refreshed', result.upAt, Date.now());
    setTimeline(createTimeline(result.timed, perSecond, result.downAt, Date.now(), result.upAt));
    checkSessions(deployment, result, check);
    checkResponses(result.responses, check);
    const mean = sum(probes) / downSeconds;
    check(
      'probes',
      max(probes) <= maxProbesPerSecond && mean <= meanProbesPerSecond,
      `at most ${max(probes)}, mean ${mean.toFixed(1)} per second`,
    );
    const spike = max(refreshes);
    check('spike', spike > 0 && spike <= sessions * maxSpikeShare, `at most ${spike} refreshes in a second`);
    note(`${grants.refresh_token} refreshes, ${reuseDetections} reuse detections`);
    note(
      `token requests in each second of the outage: ${probes.join(' ')}; refreshes in each second after it: ${refreshes.join(' ')}`,
    );
  },
};

/** Runs traffic during the outage, and then until every user has been served again. */
async function runOutage(deployment, users, downSeconds) {
  const { provider, instances } = deployment;
  const state = { phase: 'down', responses: [], timed: [] };
  await delay(1000 - (Date.now() % 1000)); // the provider counts per whole second
  const downAt = Date.now();
  await provider.setFaults({ path: 'token', response: faults[0] });
  const traffic = users.map((user) => keepCalling(user, instances, state));
  for (const [index, response] of faults.entries()) {
    await provider.setFaults({ path: 'token', response });
    await delay(Math.max(0, downAt + (downSeconds * 1000 * (index + 1)) / faults.length - Date.now()));
  }
  await provider.configure({ accessTokenSeconds: 3600, rules: [] });
  const upAt = Date.now();
  state.phase = 'up';
  await waitFor(() => users.every(({ recoveredAt }) => recoveredAt), maxRecoveryMs);
  state.phase = 'over';
  await Promise.all(traffic);
  return { downAt, upAt, users, responses: state.responses, timed: state.timed };
}

async function keepCalling(user, instances, state) {
  await delay(randomBetween(0, pauseMs[1]));
  while (state.phase !== 'over') {
    const phaseAtStart = state.phase;
    const startedAt = Date.now();
    const response = await user.callApi(randomItem(instances), { timeoutMs: 30_000 });
    state.timed.push({ status: response.status, at: Date.now() });
    if (phaseAtStart === 'down') {
      // A call that succeeds only after the recovery proves nothing about the outage.
      const succeededAfterOutage = state.phase !== 'down' && response.status === 200;
      const isValid = startedAt < user.expiresAt - transitMs;
      const isExpired = startedAt > user.expiresAt && !succeededAfterOutage;
      state.responses.push({ ...response, isValid, isExpired });
    }
    if (state.phase === 'up' && response.status === 200) user.recoveredAt ??= Date.now();
    await delay(randomBetween(...pauseMs));
  }
}

function checkSessions({ incidents }, { users, upAt }, check) {
  const kinds = countByStatus(incidents.map(({ kind }) => ({ status: kind })));
  check('lost', incidents.length === 0, `incidents: ${formatCounts(kinds)}`);
  const recoveryTimes = users.flatMap(({ recoveredAt }) => (recoveredAt ? [recoveredAt - upAt] : []));
  const [half, all] = [quantile(recoveryTimes, 0.5), max(recoveryTimes)];
  check(
    'recovery',
    recoveryTimes.length === users.length,
    `${recoveryTimes.length} of ${users.length}, half of them within ${half} ms, the last after ${all} ms`,
  );
}

function checkResponses(responses, check) {
  const valid = responses.filter(({ isValid }) => isValid);
  const expired = responses.filter(({ isExpired }) => isExpired);
  const p99 = quantile(
    valid.map(({ ms }) => ms),
    0.99,
  );
  check(
    'valid',
    valid.length > 0 && p99 < maxValidMs && valid.every(({ status }) => status === 200),
    `${formatCounts(countByStatus(valid))}, ${formatDurations(valid)}`,
  );
  const wrong = expired.filter(({ status, headers }) => status !== 503 || !headers['retry-after']).length;
  check(
    'expired',
    expired.length > 0 && wrong === 0,
    `${formatCounts(countByStatus(expired))}, ${wrong} of them not 503 or without Retry-After, ${formatDurations(expired)}`,
  );
}

/** The provider's counts of `member` in every full second between two times. */
function countsPerSecond(perSecond, member, from, to) {
  const counts = new Map(perSecond.map((each) => [each.second, each[member]]));
  const first = Math.floor(from / 1000);
  return Array.from({ length: Math.floor(to / 1000) - first }, (_, index) => counts.get(first + index) ?? 0);
}
