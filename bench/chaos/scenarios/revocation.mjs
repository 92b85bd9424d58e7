import { countByStatus, formatCounts, formatDurations, max } from '../harness/stats.mjs';
import { delay, mapConcurrently, waitFor } from '../harness/wait-for.mjs';
import { countRevocationsPerToken } from './usable-tokens.mjs';

const processes = 4;
const usersFor = (short) => (short ? 24 : 100);
const downSecondsFor = (short) => (short ? 6 : 60);
const maxCatchUpMsFor = (short) => (short ? 30_000 : 90_000);
/** A logout does not wait for an unavailable provider. */
const maxLogoutMs = 3000;
/** For all processes together, while the provider is known to be unavailable. */
const maxRetriesPerSecond = 10;
/** Max. tokens that the killed process may have revoked without removing them from the outbox. */
const maxRepeated = 4;

const faults = [
  { status: 503, headers: { 'retry-after': '1' } },
  'reset-before',
  { status: 429, headers: { 'retry-after': '1' } },
  'hang',
];

/** The revocation endpoint is down while users sign out, and a process with queued revocations is killed. */
export const revocation = {
  name: 'revocation',
  describe: (short) =>
    `revocation endpoint down ${downSecondsFor(short)} s (503, resets, 429, hanging), ${usersFor(short)} logouts meanwhile, 1 of ${processes} processes killed`,
  promises: {
    redirect: `every logout still leads on within ${maxLogoutMs / 1000} s`,
    pending: 'the metric shows the pending revocations, and is 0 at the end',
    bounded: `during the outage the provider gets one request per token, plus at most ${maxRetriesPerSecond} per second`,
    provider: 'afterwards all tokens are revoked (every token ever issued is introspected)',
    once: `each token is revoked once, except at most ${maxRepeated} in flight at the killed process`,
  },

  async run({ app, short, deploy, check }) {
    const deployment = await deploy({ processes, settings: { accessTokenSeconds: 300 } });
    const { provider, instances } = deployment;
    const users = await deployment.signIn(usersFor(short));
    const accounts = users.map(({ name }) => name);
    const tokens = users.length * 2;
    const downSeconds = downSecondsFor(short);

    const downAt = Date.now();
    await provider.setFaults({ path: 'revocation', response: faults[0] });
    const logouts = await mapConcurrently([...users.entries()], 8, ([index, user]) =>
      user.signOut(instances[index % processes]),
    );
    const statuses = countByStatus(logouts);
    check(
      'redirect',
      logouts.every(({ next }) => next !== undefined) && max(logouts.map(({ ms }) => ms)) < maxLogoutMs,
      `${formatCounts(statuses)}, ${formatDurations(logouts)}`,
    );
    const pending = await readMaxPending(app, instances);
    await instances[0].kill();
    for (const [index, response] of faults.entries()) {
      await provider.setFaults({ path: 'revocation', response });
      await delay(Math.max(0, downAt + (downSeconds * 1000 * (index + 1)) / faults.length - Date.now()));
    }
    const { revocationRequests } = await provider.counters();
    check(
      'bounded',
      revocationRequests <= tokens + maxRetriesPerSecond * downSeconds,
      `${revocationRequests} requests in ${downSeconds} s for ${tokens} tokens`,
    );

    await provider.setFaults();
    const upAt = Date.now();
    const isDone = async () => (await provider.introspectTokens(accounts)).active.length === 0;
    await waitFor(isDone, maxCatchUpMsFor(short), 500);
    const seconds = ((Date.now() - upAt) / 1000).toFixed(1);
    const { checked, active } = await provider.introspectTokens(accounts);
    check(
      'provider',
      active.length === 0,
      `${active.length} of ${checked} tokens active ${seconds} s after the recovery`,
    );
    const remaining = instances.slice(1);
    const isEmpty = async () => (await readMaxPending(app, remaining)) === 0;
    // A provider that revokes by grant needs one token of two; the other one waits for its own retry, up to a minute.
    const pendingAtEnd = (await waitFor(isEmpty, maxCatchUpMsFor(short), 500))
      ? 0
      : await readMaxPending(app, remaining);
    check(
      'pending',
      pending > 0 && pendingAtEnd === 0,
      `${pending ?? 'no metric'} after the logouts, ${pendingAtEnd ?? 'no metric'} at the end`,
    );
    const revocations = countRevocationsPerToken(await provider.revocations());
    const repeated = revocations.filter((each) => each > 1).length;
    check(
      'once',
      revocations.length >= users.length && repeated <= maxRepeated,
      `${revocations.length} tokens, ${repeated} of them more than once`,
    );
  },
};

/** The highest value of the metric: processes that share an outbox all count the same revocations. */
async function readMaxPending(app, instances) {
  const values = await Promise.all(instances.map((each) => each.readMetric(app.pendingRevocationsMetric)));
  const known = values.filter((each) => each !== undefined);
  return known.length === 0 ? undefined : max(known);
}
