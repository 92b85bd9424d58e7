import { durations, greatest, inWords, tally } from '../harness/figures.mjs';
import { delay, eachOf, until } from '../harness/waiting.mjs';
import { timesPerToken } from './logout.mjs';

const processes = 4;
const countOf = (short) => (short ? 24 : 100);
const downSecondsOf = (short) => (short ? 6 : 60);
const longestCatchUpMsOf = (short) => (short ? 30_000 : 90_000);
/** A logout does not wait for a provider that is away. */
const longestLogoutMs = 3000;
/** All processes together, while the provider is known to be unable. */
const retriesPerSecond = 10;
/** So many tokens the killed process may have been about to tick off. */
const underWay = 4;

const faults = [
  { status: 503, headers: { 'retry-after': '1' } },
  'reset-before',
  { status: 429, headers: { 'retry-after': '1' } },
  'hang',
];

/** The provider cannot revoke while people sign out, and one of the processes that owe it revocations is killed. */
export const revocation = {
  name: 'revocation',
  done: (short) =>
    `revocation endpoint down ${downSecondsOf(short)} s (503, resets, 429, hanging), ${countOf(short)} logouts meanwhile, 1 of ${processes} processes killed`,
  promises: {
    answered: `every logout is answered within ${longestLogoutMs / 1000} s all the same`,
    pending: 'the metric counts what is still to be revoked, and ends at 0',
    bounded: `meanwhile the provider is asked once for each token, and at most ${retriesPerSecond} times a second after that`,
    provider: 'all are revoked afterwards (every token ever issued, introspected)',
    once: `each token is revoked once, save ${underWay} at most that the killed process had under way`,
  },

  async run({ app, short, open, check }) {
    const world = await open({ processes, settings: { accessTokenSeconds: 300 } });
    const { provider, instances } = world;
    const people = await world.signIn(countOf(short));
    const accounts = people.map(({ name }) => name);
    const tokens = people.length * 2;
    const downSeconds = downSecondsOf(short);

    const downAt = Date.now();
    await provider.befall({ path: 'revocation', answer: faults[0] });
    const logouts = await eachOf([...people.entries()], 8, ([index, person]) =>
      person.logOut(instances[index % processes]),
    );
    const byAnswer = tally(logouts);
    const isPrompt = greatest(logouts.map(({ ms }) => ms)) < longestLogoutMs;
    check(
      'answered',
      byAnswer[303] === people.length && isPrompt,
      `${inWords(byAnswer)}, ${durations(logouts)}`,
    );
    const pending = await mostPending(app, instances);
    await instances[0].kill();
    for (const [index, answer] of faults.entries()) {
      await provider.befall({ path: 'revocation', answer });
      await delay(Math.max(0, downAt + (downSeconds * 1000 * (index + 1)) / faults.length - Date.now()));
    }
    const { revocationRequests } = await provider.counters();
    check(
      'bounded',
      revocationRequests <= tokens + retriesPerSecond * downSeconds,
      `${revocationRequests} requests in ${downSeconds} s for ${tokens} tokens`,
    );

    await provider.befall();
    const upAt = Date.now();
    const isDone = async () => (await provider.alive(accounts)).active.length === 0;
    await until(isDone, longestCatchUpMsOf(short), 500);
    const seconds = ((Date.now() - upAt) / 1000).toFixed(1);
    const { asked, active } = await provider.alive(accounts);
    check(
      'provider',
      active.length === 0,
      `${active.length} of ${asked} tokens active ${seconds} s after the recovery`,
    );
    const isEmpty = async () => (await mostPending(app, instances.slice(1))) === 0;
    const atLast = (await until(isEmpty, 10_000, 500)) ? 0 : await mostPending(app, instances.slice(1));
    check(
      'pending',
      pending > 0 && atLast === 0,
      `${pending ?? 'no metric'} after the logouts, ${atLast ?? 'no metric'} at the end`,
    );
    const times = timesPerToken(await provider.revocations());
    const again = times.filter((each) => each > 1).length;
    check(
      'once',
      times.length >= people.length && again <= underWay,
      `${times.length} tokens, ${again} of them more than once`,
    );
  },
};

/** Every process may count the same outbox, so the greatest number is the one. */
async function mostPending(app, instances) {
  const values = await Promise.all(instances.map((each) => each.metric(app.pendingRevocations)));
  const known = values.filter((each) => each !== undefined);
  return known.length === 0 ? undefined : greatest(known);
}
