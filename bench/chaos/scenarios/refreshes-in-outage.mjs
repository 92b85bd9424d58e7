import { randomItem } from '../harness/random.mjs';
import { countByStatus, formatCounts, max, sum } from '../harness/stats.mjs';
import { delay, mapConcurrently, waitFor } from '../harness/wait-for.mjs';
import { explainLogout } from './logout-causes.mjs';

/** The ways in which Redis becomes unavailable: its connections break, or hang. It keeps its data. */
export const outages = [
  { kind: 'killed', begin: (redis) => redis.kill(), end: (redis) => redis.start() },
  { kind: 'paused', begin: (redis) => redis.pause(), end: (redis) => redis.resume() },
];

/** Longer than processes defer refreshes after Redis is back: 4.5 s on a cluster. */
const graceMs = 5000;
const maxListed = 3;

/** The promises about sessions whose refresh was in progress when Redis became unavailable. */
export const sessionPromises = (maxServedSeconds) => ({
  signedIn: 'nobody is signed out; no cookie changes',
  grants: 'one grant per session, and the API gets its tokens: they were written',
  reuse: 'no refresh token is used twice, also not when every session is refreshed once more',
  served: `calls get 200, or 503 with Retry-After; every session is served within ${maxServedSeconds} s after Redis is back`,
});

/** Signs in users whose access tokens have expired; tokens that are granted from then on last an hour. */
export async function signInExpired({ provider, signIn }, count, prefix) {
  await provider.configure({ accessTokenSeconds: 1 });
  const users = await signIn(count, prefix);
  await provider.configure({ accessTokenSeconds: 3600 });
  await delay(1100);
  return users;
}

/**
 * Starts a refresh of every session. The provider grants them at once, and responds after `responseMs`; later requests
 * are not delayed.
 * @returns the calls, once the provider has made all grants
 */
export async function startRefreshes({ provider }, users, owners, responseMs) {
  const countGrants = async () => (await provider.counters()).grants.refresh_token;
  const wanted = (await countGrants()) + users.length;
  await provider.setFaults({ path: 'token', delayAfterMs: responseMs });
  const calls = users.map((user, index) => {
    user.owner = owners[index % owners.length];
    return user.callApi(user.owner);
  });
  if (!(await waitFor(async () => (await countGrants()) >= wanted, 5000, 20)))
    throw new Error('the refreshes did not reach the provider');
  await provider.setFaults();
  return calls;
}

/**
 * Sends a call for every user to a process that is not refreshing the session, and the next one `pauseMs` after its
 * response, until the user is served or signed out, or for `maxMs`.
 */
export async function callUntilServed(users, instances, { pauseMs = 200, maxMs = 60_000 } = {}) {
  const deadline = Date.now() + maxMs;
  const responses = [];
  async function keepCalling(user) {
    while (Date.now() < deadline) {
      const response = await user.callApi(randomItem(instances.filter((each) => each !== user.owner)));
      responses.push(response);
      if (response.status === 401) return;
      if (response.status === 200) {
        user.servedAt = Date.now();
        return;
      }
      await delay(pauseMs);
    }
  }
  await Promise.all(users.map(keepCalling));
  return responses;
}

/** What became of the sessions of `users` after the outage `label`, which ended at `backAt`. Refreshes each once more. */
export async function measureSessions(deployment, { label, users, responses, backAt, refreshOn }) {
  const { provider, incidents } = deployment;
  const names = new Set(users.map(({ name }) => name));
  const [attempts, tokens] = await Promise.all([provider.attempts(), provider.tokens()]);
  const grants = attempts.filter(
    ({ account, type, outcome }) => names.has(account) && type === 'refresh_token' && outcome === 'granted',
  );
  const usedTokens = new Set(tokens.flatMap(({ value, usedAt }) => (usedAt ? [value] : [])));
  await delay(graceMs);
  const refreshes = await mapConcurrently(users, 4, (user) => user.refresh(randomItem(refreshOn)));
  const reuses = (await provider.attempts()).filter(({ account, isReuse }) => names.has(account) && isReuse);
  const own = incidents.filter(({ browser }) => names.has(browser));
  const signedOut = [...new Set(own.filter(({ kind }) => kind !== 'cookie').map(({ browser }) => browser))];
  return {
    label,
    sessions: users.length,
    grants: grants.length,
    written: new Set(grants.filter(({ access }) => usedTokens.has(access)).map(({ account }) => account))
      .size,
    reuses: reuses.length,
    refreshedAgain: refreshes.filter(({ status }) => status === 200).length,
    signedOut: signedOut.length,
    explanations: signedOut.map(
      (name) => explainLogout(name, attempts, tokens, deployment.instances).explanation,
    ),
    cookies: own.filter(({ kind }) => kind === 'cookie').length,
    responses,
    servedMs: users.flatMap(({ servedAt }) => (servedAt ? [Math.max(0, servedAt - backAt)] : [])),
  };
}

/** Checks the `sessionPromises` for all of these measurements together, and notes why sessions were lost. */
export function checkSessions(measured, maxServedSeconds, { check, note }) {
  const total = (key) => sum(measured.map((each) => each[key]));
  const sessions = total('sessions');
  check(
    'signedIn',
    total('signedOut') === 0 && total('cookies') === 0,
    `${total('signedOut')} of ${sessions} sessions signed out, ${total('cookies')} responses set a cookie`,
  );
  check(
    'grants',
    total('grants') === sessions && total('written') === sessions,
    `${total('grants')} grants for ${sessions} sessions, tokens of ${total('written')} sessions used`,
  );
  check(
    'reuse',
    total('reuses') === 0 && total('refreshedAgain') === sessions,
    `${total('reuses')} reuse detections, ${total('refreshedAgain')} of ${sessions} refreshed once more`,
  );
  const responses = measured.flatMap((each) => each.responses);
  const isExpected = ({ status, headers }) =>
    status === 200 || (status === 503 && headers['retry-after'] !== undefined);
  const unexpected = responses.filter((each) => !isExpected(each)).length;
  const served = sum(measured.map(({ servedMs }) => servedMs.length));
  const lastSeconds = measured.map(({ servedMs }) => max(servedMs) / 1000);
  check(
    'served',
    unexpected === 0 && served === sessions && max(lastSeconds) <= maxServedSeconds,
    `calls ${formatCounts(countByStatus(responses))}, ${unexpected} unexpected; ${served} of ${sessions} sessions served, the last after ${measured.map(({ label }, index) => `${lastSeconds[index].toFixed(1)} s (${label})`).join(', ')}`,
  );
  for (const { label, explanations } of measured)
    for (const each of explanations.slice(0, maxListed)) note(`${label}: ${each}`);
}
