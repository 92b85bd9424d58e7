import { randomBetween, randomItem } from '../harness/random.mjs';
import { countByStatus, formatCounts, max } from '../harness/stats.mjs';
import { delay, waitFor } from '../harness/wait-for.mjs';

/** While the store is unavailable, responses to requests that need a session take at most this long. */
const maxResponseMs = 2000;
const maxRecoveryMs = 20_000;

/** `steady` users have a long-lived token; `brief` users need a refresh with nearly every call. */
export const lifetimes = { steady: 3600, brief: 1 };

/**
 * Sends calls and page requests to all processes during `fault`, and then until every user who is still signed in gets
 * a 200.
 * @param {{ begin(): unknown, end(): unknown }} fault
 */
export async function runTrafficDuringFault(deployment, users, fault, faultMs) {
  const { instances, app } = deployment;
  const state = { phase: 'before', responses: [], pages: [] };
  const incidentsBefore = deployment.incidents.length;
  const requestPages = (user, instance) => keepRequestingPages(user, app.paths.public, instance, state);
  const traffic = [
    ...users.map((user) => keepCalling(user, instances, state)),
    ...instances.map((instance) => requestPages(deployment.browser('stranger'), instance)),
    ...instances.map((instance, index) => requestPages(users[index], instance)),
  ];
  await delay(1200); // so that some refreshes are in flight
  await fault.begin();
  // Requests sent before the fault may still succeed, and those of sessions that were read up to 250 ms ago (decision 25).
  await delay(400);
  state.phase = 'during';
  await delay(faultMs);
  state.phase = 'ending';
  await fault.end();
  state.phase = 'after';
  const endedAt = Date.now();
  const loggedOut = () => usersWithIncident(deployment.incidents.slice(incidentsBefore), 'logout');
  const signedIn = () => users.filter(({ name }) => !loggedOut().has(name));
  const hasRecovered = await waitFor(
    () => signedIn().every(({ servedAt }) => servedAt > endedAt),
    maxRecoveryMs,
    20,
  );
  state.phase = 'over';
  await Promise.all(traffic);

  const unavailable = state.responses.filter(({ status }) => status === 503);
  return {
    statuses: countByStatus(state.responses),
    pages: countByStatus(state.pages),
    slowestMs: max(state.responses.map(({ ms }) => ms)),
    slowestPageMs: max(state.pages.map(({ ms }) => ms)),
    withoutRetryAfter: unavailable.filter(({ headers }) => headers['retry-after'] === undefined).length,
    loggedOut: loggedOut(),
    cookies: usersWithIncident(deployment.incidents.slice(incidentsBefore), 'cookie').size,
    recoveryMs: hasRecovered ? Math.max(...signedIn().map(({ servedAt }) => servedAt)) - endedAt : undefined,
  };
}

/** Whether the promises for an unavailable store were kept, and the measurements as text. */
export function evaluate(result, allowed = ['503']) {
  const { statuses, pages, loggedOut, cookies } = result;
  const isKept =
    Object.keys(statuses).length > 0 &&
    Object.keys(statuses).every((status) => allowed.includes(status)) &&
    Object.keys(pages).join() === '200' &&
    result.slowestMs <= maxResponseMs &&
    result.slowestPageMs <= maxResponseMs &&
    result.withoutRetryAfter === 0 &&
    loggedOut.size === 0 &&
    cookies === 0 &&
    result.recoveryMs !== undefined;
  const recovery =
    result.recoveryMs === undefined ? 'not recovered' : `recovered after ${result.recoveryMs} ms`;
  return [
    isKept,
    `calls ${formatCounts(statuses)}, slowest ${result.slowestMs.toFixed(0)} ms, ${result.withoutRetryAfter} without Retry-After; pages ${formatCounts(pages)}, slowest ${result.slowestPageMs.toFixed(0)} ms; ${recovery}; ${loggedOut.size} users logged out, ${cookies} with a changed cookie`,
  ];
}

/** Sends calls at a steady rate, without waiting for responses. */
async function keepCalling(user, instances, state) {
  const calls = [];
  user.servedAt = 0;
  while (state.phase !== 'over') {
    calls.push(callOnce(user, randomItem(instances), state));
    await delay(randomBetween(200, 600));
  }
  await Promise.all(calls);
}

async function callOnce(user, instance, state) {
  const phaseAtStart = state.phase;
  const response = await user.callApi(instance);
  if (response.status === 200) user.servedAt = Date.now();
  // A call sent during the fault may succeed because the store recovered in time; it proves nothing.
  const succeededAfterFault =
    state.phase !== 'during' && response.status === 200 && response.ms <= maxResponseMs;
  if (isUnavailable(phaseAtStart) && !succeededAfterFault) state.responses.push(response);
}

/** Requests public pages, which need no session; `user` may be signed in or not. */
async function keepRequestingPages(user, paths, instance, state) {
  while (state.phase !== 'over') {
    for (const path of paths) {
      const phaseAtStart = state.phase;
      const response = await user.send(instance, path, { navigate: true });
      // Latchkey redirects signed-in users away from the sign-in page.
      const isSignedInRedirect = path === '/auth/sign-in' && response.status === 303;
      if (isUnavailable(phaseAtStart) && !isSignedInRedirect) state.pages.push(response);
    }
    await delay(100);
  }
}

const isUnavailable = (phase) => phase === 'during' || phase === 'ending';

function usersWithIncident(incidents, kind) {
  return new Set(incidents.filter((each) => each.kind === kind).map(({ browser }) => browser));
}
