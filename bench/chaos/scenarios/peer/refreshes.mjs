import { countByStatus, formatCounts } from '../../harness/stats.mjs';
import { delay } from '../../harness/wait-for.mjs';
import { createResult, formatRange, formatStatuses, isServed, lifetimes, signIn } from './common.mjs';

/** Parallel calls when one session's token has expired; when the session ends, the next round has a new user. */
export async function callsAtExpiry(deployment, { rounds, calls }) {
  const { provider, instances } = deployment;
  let user;
  let endedSessions = 0;
  const responses = [];
  const grants = [];
  const requests = [];
  const reusesBefore = (await provider.counters()).reuseDetections;
  for (let round = 0; round < rounds; round += 1) {
    if (!user) [user] = await signIn(deployment, 1, `burst-${round}`);
    await provider.setFaults({ path: 'token', delayMs: [0, 300] });
    const before = await provider.attempts(user.name);
    const last = before.filter(({ outcome }) => outcome === 'granted').at(-1);
    await delay(Math.max(0, last.respondedAt + lifetimes.burst * 1000 + 50 - Date.now()));
    const burst = Array.from({ length: calls }, (_, index) =>
      user.callApi(instances[index % instances.length]),
    );
    responses.push(...(await Promise.all(burst)));
    const attempts = (await provider.attempts(user.name)).slice(before.length);
    requests.push(attempts.length);
    grants.push(attempts.filter(({ outcome }) => outcome === 'granted').length);
    await provider.setFaults();
    if (isServed(await user.callApi(instances[0]))) continue;
    endedSessions += 1;
    user = undefined;
  }
  const reuses = (await provider.counters()).reuseDetections - reusesBefore;
  return {
    grants: createResult(
      formatRange(grants),
      grants.every((each) => each === 1),
    ),
    requests: createResult(
      formatRange(requests),
      requests.every((each) => each === 1),
    ),
    reuse: createResult(`${reuses} in ${rounds} rounds`, reuses === 0),
    calls: createResult(formatStatuses(responses), responses.every(isServed)),
    out: createResult(`${endedSessions} of ${rounds}`, endedSessions === 0),
  };
}

/** A slow API call on one process, during which a call on the other process refreshes the token. */
export async function slowCallOvertaken(deployment, { users: count }) {
  const { provider, instances } = deployment;
  const users = await signIn(deployment, count, 'overtaken');
  const results = await Promise.all(
    users.map(async (user) => {
      const waitUntil = (ms) => delay(Math.max(0, user.signedInAt + ms - Date.now()));
      await waitUntil(500);
      const slowCall = user.callApi(instances[0], { query: '?wait=2500' });
      await waitUntil(2200);
      await user.callApi(instances[1]);
      await slowCall;
      const before = await provider.attempts(user.name);
      const newest = before.filter(({ outcome }) => outcome === 'granted').at(-1);
      await waitUntil(4500);
      const next = await user.callApi(instances[0]);
      const sent = (await provider.attempts(user.name)).slice(before.length)[0]?.sentRefreshToken;
      return {
        next,
        sent: classifyToken(sent, newest, before),
        isSignedIn: await user.isSignedIn(instances[0]),
      };
    }),
  );
  const sent = countByStatus(results.map((each) => ({ status: each.sent })));
  const nextCalls = results.map(({ next }) => next);
  const signedIn = results.filter(({ isSignedIn }) => isSignedIn).length;
  return {
    overtaken: createResult(formatCounts(sent), sent.newest === count),
    overtakenNext: createResult(formatStatuses(nextCalls), nextCalls.every(isServed)),
    overtakenSession: createResult(`${signedIn} of ${count}`, signedIn === count),
  };
}

function classifyToken(sent, newest, attempts) {
  if (sent === undefined) return 'none';
  if (sent === newest.refresh) return 'newest';
  return attempts.some(({ sentRefreshToken }) => sentRefreshToken === sent) ? 'already used' : 'another';
}
