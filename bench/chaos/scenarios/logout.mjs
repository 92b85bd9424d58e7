import { between, pick, shuffled } from '../harness/chance.mjs';
import { durations, greatest, inWords, tally } from '../harness/figures.mjs';
import { delay, eachOf, until } from '../harness/waiting.mjs';

const processes = 4;
const countOf = (short) => (short ? 50 : 500);
const atOnce = 25;
const longestBackgroundMs = 15_000;

/** People sign out on one process while another refreshes their tokens and a third still answers them slowly. */
export const logout = {
  name: 'logout',
  done: (short) =>
    `${countOf(short)} logouts during refreshes (answered 100-380 ms late) and slow requests, on ${processes} processes`,
  promises: {
    answered: 'every logout is answered with a redirect',
    provider:
      'nothing is alive at the provider, where a revocation takes the family and where it takes one token',
    redis: 'no tokens are left in Redis',
    over: 'the old cookies open nothing',
    once: 'each token is revoked once',
    calls: 'a call during the logout ends with 200 or 401, and nothing else',
  },

  async run({ app, short, open, check, note }) {
    const world = await open({ processes, settings: { accessTokenSeconds: 1 } });
    const { provider, instances, redis } = world;
    const people = await world.signIn(countOf(short));
    await delay(1050);
    const left = await leaveAll(people, world);

    const logouts = left.map((each) => each.logout);
    const byAnswer = tally(logouts);
    check('answered', byAnswer[303] === people.length, `${inWords(byAnswer)}, ${durations(logouts)}`);
    const calls = tally(left.flatMap((each) => each.calls));
    check(
      'calls',
      Object.keys(calls).every((each) => each === '200' || each === '401'),
      inWords(calls),
    );

    const accounts = people.map(({ name }) => name);
    let alive;
    await until(
      async () => {
        alive = await stillOfUse(provider, accounts);
        return alive.active.length === 0;
      },
      longestBackgroundMs,
      500,
    );
    const owners = new Set(alive.active.map(({ account }) => account));
    check(
      'provider',
      owners.size === 0,
      `${alive.active.length} of ${alive.asked} tokens, of ${owners.size} people`,
    );
    const keys = await redis.keys(app.tokenKeys);
    check('redis', keys.length === 0, `${keys.length} keys`);
    const after = tally(await eachOf(people, atOnce, (person) => comeBack(person, pick(instances))));
    check('over', after[401] === people.length, inWords(after));
    const times = timesPerToken(await provider.revocations());
    check(
      'once',
      times.length >= people.length && greatest(times) === 1,
      `${times.length} tokens, at most ${greatest(times)} times`,
    );
    const { grants, reuseDetections } = await provider.counters();
    note(`${grants.refresh_token} refreshes, ${reuseDetections} reuse detections`);
  },
};

/** One half signs out at a provider that revokes a token with its family, the other where each token counts. */
async function leaveAll(people, { provider, instances }) {
  // The grant happens at once, its answer takes its time: signing out meanwhile ends tokens nobody has seen yet.
  await provider.befall({ path: 'token', delayMs: [0, 80], delayAfterMs: [100, 300] });
  const middle = people.length / 2;
  const first = await eachOf(people.slice(0, middle), atOnce, (person) => leave(person, instances));
  await provider.set({ revokes: 'token' });
  const second = await eachOf(people.slice(middle), atOnce, (person) => leave(person, instances));
  return [...first, ...second];
}

/** A call that has to refresh and one that is answered late, each on its process; in the middle of it the logout. */
async function leave(person, instances) {
  const [one, two, three] = shuffled(instances);
  person.oldCookies = new Map(person.cookies);
  const calls = [person.api(one), person.api(two, { query: '?wait=300' })];
  await delay(between(0, 500));
  const answer = await person.logOut(three);
  return { logout: answer, calls: await Promise.all(calls) };
}

function comeBack(person, instance) {
  person.cookies = person.oldCookies;
  return person.api(instance);
}

/**
 * The tokens that introspection calls active. An access token that was replaced ended by its announced time; that this
 * provider would know it for longer is the bench's own doing and counts for nothing.
 */
export async function stillOfUse(provider, accounts) {
  const { asked, active } = await provider.alive(accounts);
  const newest = new Map((await provider.attempts()).map(({ account, access }) => [account, access]));
  const isReplaced = ({ kind, account, value }) => kind === 'access' && newest.get(account) !== value;
  return { asked, active: active.filter((token) => !isReplaced(token)) };
}

/** How often each token was revoked with success. */
export function timesPerToken(revocations) {
  const times = new Map();
  for (const { token, status } of revocations)
    if (status === 200) times.set(token, (times.get(token) ?? 0) + 1);
  return [...times.values()];
}
