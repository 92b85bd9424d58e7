import { durations, inWords, tally } from '../harness/figures.mjs';
import { delay } from '../harness/waiting.mjs';

const processes = 4;
const calls = 200;
const tokenMs = 1000;
const roundsOf = (short) => (short ? 10 : 100);

/** Everybody arrives at the moment one session's token ends. */
export const storm = {
  name: 'storm',
  done: (short) =>
    `${processes} processes, 1 session, ${calls} parallel calls at expiry x ${roundsOf(short)} rounds, provider delayed 0-500 ms`,
  promises: {
    grants: 'exactly 1 grant per round (short form, on busy machines: per end of the token)',
    reuse: 'no refresh token is used twice',
    calls: 'no call fails',
  },

  async run({ short, open, check, note }) {
    const rounds = roundsOf(short);
    const world = await open({ processes, settings: { accessTokenSeconds: tokenMs / 1000 } });
    const { provider, instances } = world;
    const [person] = await world.signIn(1);
    await provider.befall({ path: 'token', delayMs: [0, 500] });

    const answers = [];
    for (let round = 0; round < rounds; round += 1) {
      const last = (await provider.attempts(person.name)).at(-1);
      // Every other round begins while the token is still good, but too old to be left alone.
      const startAt = last.answeredAt + tokenMs + (round % 2 === 0 ? 20 : -150);
      await delay(Math.max(0, startAt - Date.now()));
      const burst = Array.from({ length: calls }, (_, index) => person.api(instances[index % processes]));
      for (const { status, error, ms } of await Promise.all(burst)) answers.push({ status, error, ms });
      await calm(provider, person.name, round + 1);
    }

    const { reuseDetections } = await provider.counters();
    const { grants, again } = await grantsPerEnd(provider, person.name);
    const late = grants > rounds ? `, ${grants - rounds} of them because a round outlasted its token` : '';
    check(
      'grants',
      again === 0 && (short ? grants >= rounds : grants === rounds),
      `${grants} grants in ${rounds} rounds${late}, ${again} for a token still fresh`,
    );
    check('reuse', reuseDetections === 0, `${reuseDetections} reuse detections`);
    check(
      'calls',
      answers.every(({ status }) => status === 200),
      inWords(tally(answers)),
    );
    note(durations(answers));
  },
};

/**
 * Settles when this round has had its refresh and none is under way: where nobody had to wait for it, it may reach the
 * provider after the last answer. A round without one is not waited for longer than its token lives.
 */
async function calm(provider, account, refreshes) {
  const deadline = Date.now() + tokenMs;
  for (;;) {
    const attempts = await provider.attempts(account);
    const isQuiet = attempts.every(({ answeredAt, lostAt }) => answeredAt ?? lostAt);
    const isRefreshed = attempts.length > refreshes; // the first attempt was the login
    if (isQuiet && (isRefreshed || Date.now() > deadline)) return;
    await delay(20);
  }
}

/**
 * The refreshes, and those of them that asked `again` for a token still fresh: it is due from four fifths of its life,
 * and on a busy machine a round may last until then.
 */
async function grantsPerEnd(provider, account) {
  const granted = (await provider.attempts(account)).filter(({ outcome }) => outcome === 'granted');
  const ages = granted.slice(1).map(({ at }, index) => at - granted[index].answeredAt);
  return { grants: ages.length, again: ages.filter((age) => age < tokenMs * 0.8).length };
}
