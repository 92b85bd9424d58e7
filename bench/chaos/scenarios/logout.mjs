import { randomBetween, randomItem, shuffled } from '../harness/random.mjs';
import { countByStatus, formatCounts, formatDurations, max } from '../harness/stats.mjs';
import { delay, mapConcurrently, waitFor } from '../harness/wait-for.mjs';
import { countRevocationsPerToken, findUsableTokens } from './usable-tokens.mjs';

const processes = 4;
const usersFor = (short) => (short ? 50 : 500);
const concurrency = 25;
const maxBackgroundMs = 15_000;

/** Users sign out on one process, while another refreshes their tokens and a third has a slow API response in progress. */
export const logout = {
  name: 'logout',
  describe: (short) =>
    `${usersFor(short)} logouts during refreshes (responses 100-380 ms late) and slow requests, on ${processes} processes`,
  promises: {
    redirect: 'every logout leads on',
    provider:
      'no token is usable at the provider afterwards, whether it revokes the family or only the one token',
    redis: 'no token record is left in Redis',
    over: 'the old cookies get 401',
    once: 'each token is revoked once',
    calls: 'a call during the logout returns 200 or 401',
  },

  async run({ app, short, deploy, check, note }) {
    const deployment = await deploy({ processes, settings: { accessTokenSeconds: 1 } });
    const { provider, instances, redis } = deployment;
    const users = await deployment.signIn(usersFor(short));
    await delay(1050);
    const results = await signOutAll(users, deployment);

    const logouts = results.map((each) => each.logout);
    const statuses = countByStatus(logouts);
    check(
      'redirect',
      logouts.every(({ next }) => next !== undefined),
      `${formatCounts(statuses)}, ${formatDurations(logouts)}`,
    );
    const calls = countByStatus(results.flatMap((each) => each.calls));
    check(
      'calls',
      Object.keys(calls).every((each) => each === '200' || each === '401'),
      formatCounts(calls),
    );

    const accounts = users.map(({ name }) => name);
    let tokens;
    await waitFor(
      async () => {
        tokens = await findUsableTokens(provider, accounts);
        return tokens.active.length === 0;
      },
      maxBackgroundMs,
      500,
    );
    const owners = new Set(tokens.active.map(({ account }) => account));
    check(
      'provider',
      owners.size === 0,
      `${tokens.active.length} of ${tokens.checked} tokens, of ${owners.size} users`,
    );
    const keys = await redis.keys(app.tokenKeyPattern);
    check('redis', keys.length === 0, `${keys.length} keys`);
    const withOldCookies = countByStatus(
      await mapConcurrently(users, concurrency, (user) => callWithOldCookies(user, randomItem(instances))),
    );
    check('over', withOldCookies[401] === users.length, formatCounts(withOldCookies));
    const revocations = countRevocationsPerToken(await provider.revocations());
    check(
      'once',
      revocations.length >= users.length && max(revocations) === 1,
      `${revocations.length} tokens, at most ${max(revocations)} successful revocations per token`,
    );
    const { grants, reuseDetections } = await provider.counters();
    note(`${grants.refresh_token} refreshes, ${reuseDetections} reuse detections`);
  },
};

/** Half of the users sign out while a revocation ends the whole family, the other half while it ends only one token. */
async function signOutAll(users, { provider, instances }) {
  // The provider makes the grant at once but responds late: a logout meanwhile must also revoke tokens still in transit.
  await provider.setFaults({ path: 'token', delayMs: [0, 80], delayAfterMs: [100, 300] });
  const signOutMany = (some) =>
    mapConcurrently(some, concurrency, (user) => signOutDuringCalls(user, instances));
  const middle = users.length / 2;
  const first = await signOutMany(users.slice(0, middle));
  await provider.configure({ revokes: 'token' });
  const second = await signOutMany(users.slice(middle));
  return [...first, ...second];
}

/** Signs out on one process during a call that needs a refresh and a slow call, each on another process. */
async function signOutDuringCalls(user, instances) {
  const [one, two, three] = shuffled(instances);
  user.oldCookies = new Map(user.cookies);
  const calls = [user.callApi(one), user.callApi(two, { query: '?wait=300' })];
  await delay(randomBetween(0, 500));
  const response = await user.signOut(three);
  return { logout: response, calls: await Promise.all(calls) };
}

function callWithOldCookies(user, instance) {
  user.cookies = user.oldCookies;
  return user.callApi(instance);
}
