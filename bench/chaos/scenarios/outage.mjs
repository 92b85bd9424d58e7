import { between, pick } from '../harness/chance.mjs';
import { durations, greatest, inWords, quantile, tally, total } from '../harness/figures.mjs';
import { delay, until } from '../harness/waiting.mjs';

const processes = 4;
const shape = (short) =>
  short
    ? { sessions: 100, downSeconds: 6, tokenSeconds: 3 }
    : { sessions: 1000, downSeconds: 60, tokenSeconds: 25 };
const steadySessions = 20;
/** Each person calls about every three seconds, whatever the answer. */
const pauseMs = [2000, 4000];

/** What the provider may be asked while it is down: in any one second (the first few open the circuits), and on average. */
// Per process ten at once, and seven failures in a row until it leaves the provider alone.
const mostProbesPerSecond = processes * 17;
const meanProbesPerSecond = processes * 2;
/** And when it is back: a share of the sessions in any one second; a third of them call in it. */
const spikeShare = 0.5;
const longestRecoveryMs = 60_000;
const longestValidMs = 250;
/** So long before its end a token may not survive the way to the API any more. */
const travelMs = 2000;

const faults = [
  { status: 503 },
  'reset-before',
  'hang',
  { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>Sorry</html>' },
];

/** The token endpoint is down, in every way it can be, while everybody's tokens run out. */
export const outage = {
  name: 'outage',
  done: (short) => {
    const { sessions, downSeconds, tokenSeconds } = shape(short);
    return `${processes} processes, ${sessions} sessions, tokens of ${tokenSeconds} s running out, token endpoint down ${downSeconds} s (503, resets, hanging, HTML 200)`;
  },
  promises: {
    lost: 'no session is lost, no cookie changed',
    valid: `tokens still valid are served throughout, 99 % of the calls within ${longestValidMs} ms`,
    expired: 'the others are told 503 with Retry-After',
    probes: `the provider is asked at most ${mostProbesPerSecond} times in a second, ${meanProbesPerSecond} on average`,
    spike: `no spike on recovery: at most ${spikeShare * 100} % of the sessions refresh in one second`,
    recovery: 'everybody is served again without signing in',
  },

  async run({ short, open, check, note }) {
    const { sessions, downSeconds, tokenSeconds } = shape(short);
    const world = await open({
      processes,
      settings: { accessTokenSeconds: tokenSeconds, lifetimes: { steady: 3600 } },
    });
    const steady = await world.signIn(steadySessions, 'steady');
    const people = await world.signIn(sessions);
    for (const person of steady) person.expiresAt = Infinity;
    for (const person of people) person.expiresAt = person.signedInAt + tokenSeconds * 1000;

    const seen = await live(world, [...people, ...steady], downSeconds);
    const { perSecond, grants, reuseDetections } = await world.provider.counters();
    const probes = series(perSecond, 'token', seen.downAt, seen.upAt);
    const refreshes = series(perSecond, 'refreshed', seen.upAt, Date.now());
    judgeSessions(world, seen, check);
    judgeAnswers(seen.answers, check);
    const mean = total(probes) / downSeconds;
    check(
      'probes',
      greatest(probes) <= mostProbesPerSecond && mean <= meanProbesPerSecond,
      `at most ${greatest(probes)}, mean ${mean.toFixed(1)} per second`,
    );
    const spike = greatest(refreshes);
    check('spike', spike > 0 && spike <= sessions * spikeShare, `at most ${spike} refreshes in a second`);
    note(`${grants.refresh_token} refreshes, ${reuseDetections} reuse detections`);
    note(
      `asked in each second of the outage: ${probes.join(' ')}; refreshes after it: ${refreshes.join(' ')}`,
    );
  },
};

/** The outage and the time until everybody is served again, under traffic. */
async function live(world, people, downSeconds) {
  const { provider, instances } = world;
  const state = { phase: 'down', answers: [] };
  await delay(1000 - (Date.now() % 1000)); // the provider counts by whole seconds
  const downAt = Date.now();
  await provider.befall({ path: 'token', answer: faults[0] });
  const traffic = people.map((person) => browse(person, instances, state));
  for (const [index, answer] of faults.entries()) {
    await provider.befall({ path: 'token', answer });
    await delay(Math.max(0, downAt + (downSeconds * 1000 * (index + 1)) / faults.length - Date.now()));
  }
  await provider.set({ accessTokenSeconds: 3600, rules: [] });
  const upAt = Date.now();
  state.phase = 'up';
  await until(() => people.every(({ servedAgainAt }) => servedAgainAt), longestRecoveryMs);
  state.phase = 'over';
  await Promise.all(traffic);
  return { downAt, upAt, people, answers: state.answers };
}

async function browse(person, instances, state) {
  await delay(between(0, pauseMs[1]));
  while (state.phase !== 'over') {
    const begunIn = state.phase;
    const begun = Date.now();
    const answer = await person.api(pick(instances), { timeoutMs: 30_000 });
    if (begunIn === 'down') {
      // Served after the recovery, a call says nothing about the outage.
      const isServedLater = state.phase !== 'down' && answer.status === 200;
      const isValid = begun < person.expiresAt - travelMs;
      const isExpired = begun > person.expiresAt && !isServedLater;
      state.answers.push({ ...answer, isValid, isExpired });
    }
    if (state.phase === 'up' && answer.status === 200) person.servedAgainAt ??= Date.now();
    await delay(between(...pauseMs));
  }
}

function judgeSessions({ incidents }, { people, upAt }, check) {
  const kinds = tally(incidents.map(({ kind }) => ({ status: kind })));
  check('lost', incidents.length === 0, `incidents: ${inWords(kinds)}`);
  const waits = people.flatMap(({ servedAgainAt }) => (servedAgainAt ? [servedAgainAt - upAt] : []));
  const [half, all] = [quantile(waits, 0.5), greatest(waits)];
  check(
    'recovery',
    waits.length === people.length,
    `${waits.length} of ${people.length}, half of them after ${half} ms, the last after ${all} ms`,
  );
}

function judgeAnswers(answers, check) {
  const valid = answers.filter(({ isValid }) => isValid);
  const expired = answers.filter(({ isExpired }) => isExpired);
  const isFast =
    quantile(
      valid.map(({ ms }) => ms),
      0.99,
    ) < longestValidMs;
  check(
    'valid',
    valid.length > 0 && isFast && valid.every(({ status }) => status === 200),
    `${inWords(tally(valid))}, ${durations(valid)}`,
  );
  const rude = expired.filter(({ status, headers }) => status !== 503 || !headers['retry-after']).length;
  check(
    'expired',
    expired.length > 0 && rude === 0,
    `${inWords(tally(expired))}, ${rude} of them otherwise or without Retry-After, ${durations(expired)}`,
  );
}

/** What the provider counted in every second from one moment until before another. */
function series(perSecond, what, from, to) {
  const counts = new Map(perSecond.map((each) => [each.second, each[what]]));
  const first = Math.floor(from / 1000);
  return Array.from({ length: Math.floor(to / 1000) - first }, (_, index) => counts.get(first + index) ?? 0);
}
