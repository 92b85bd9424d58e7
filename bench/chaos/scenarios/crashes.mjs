import { randomBetween, randomItem } from '../harness/random.mjs';
import { countByStatus, formatCounts, formatDurations } from '../harness/stats.mjs';
import { delay, mapConcurrently } from '../harness/wait-for.mjs';
import { countLostGrants, explainLogout } from './logout-causes.mjs';

const processes = 4;
const tokenSeconds = 5;
const graceSeconds = 30;
const sessionsFor = (short) => (short ? 50 : 500);
const secondsFor = (short) => (short ? 9 : 60);
/** Causes of a logout, from unavoidable to worst. */
const causesBySeverity = ['killed', 'paused', 'unexplained'];
const maxListed = 10;
/** The range of the pause between two calls of a user. */
const pauseMs = [1000, 3000];

/** Processes are killed and paused at random under traffic; the provider tolerates reuse for `grace` seconds. */
const createScenario = (name, grace) => ({
  name,
  describe: (short) =>
    `${processes} processes, ${sessionsFor(short)} sessions, ${secondsFor(short)} s of traffic, tokens of ${tokenSeconds} s, random kill -9 and SIGSTOP 3-5 s; ${grace > 0 ? `the provider tolerates reuse within ${grace} s` : 'the provider punishes reuse'}`,
  promises: {
    logouts:
      grace > 0
        ? 'no user is logged out'
        : 'no user is logged out, except by a grant whose response was lost with a killed process',
    cookies: 'no cookie changes',
    served: 'at the end every other user gets 200 with the same cookie',
  },

  async run({ short, deploy, check, note }) {
    const settings = { accessTokenSeconds: tokenSeconds, graceSeconds: grace };
    const deployment = await deploy({ processes, settings });
    const { provider, instances } = deployment;
    const users = await deployment.signIn(sessionsFor(short));
    await provider.setFaults({ path: 'token', delayMs: [0, 60], delayAfterMs: [0, 60] });

    const endsAt = Date.now() + secondsFor(short) * 1000;
    const calls = [];
    const traffic = Promise.all(users.map((user) => keepCalling(user, instances, endsAt, calls)));
    const disturbances = await disturbInstances(instances, endsAt);
    await traffic;
    await provider.setFaults();
    await delay(tokenSeconds * 1000); // every session now needs a refresh, which reveals lost grants
    const lastResponses = await mapConcurrently(users, 32, (user) => callUntilFinal(user, instances));

    await checkLogouts(deployment, grace, check, note);
    const cookies = deployment.incidentsOf('cookie').length;
    check('cookies', cookies === 0, `${cookies} responses set a cookie`);
    const loggedOut = new Set(deployment.incidentsOf('logout').map(({ browser }) => browser));
    const others = lastResponses.filter((_, index) => !loggedOut.has(users[index].name));
    check(
      'served',
      others.every(({ status }) => status === 200),
      formatCounts(countByStatus(others)),
    );
    note(`${disturbances.kill} kills, ${disturbances.pause} pauses`);
    note(
      `calls: ${formatCounts(countByStatus(calls))}, ${formatDurations(calls)}; 401s from the API itself: ${deployment.incidentsOf('api-401').length}`,
    );
  },
});

export const crashes = createScenario('crashes', 0);
export const crashesGrace = createScenario('crashes-grace', graceSeconds);

/** Checks every logout, and notes the cause that the provider's ledger shows. */
async function checkLogouts(deployment, grace, check, note) {
  const { provider, instances } = deployment;
  const [attempts, tokens, counters] = await Promise.all([
    provider.attempts(),
    provider.tokens(),
    provider.counters(),
  ]);
  const names = [...new Set(deployment.incidentsOf('logout').map(({ browser }) => browser))];
  const logouts = names
    .map((name) => explainLogout(name, attempts, tokens, instances))
    .sort((a, b) => causesBySeverity.indexOf(b.kind) - causesBySeverity.indexOf(a.kind));
  const count = (kind) => logouts.filter((each) => each.kind === kind).length;
  check(
    'logouts',
    grace > 0 ? names.length === 0 : count('killed') === names.length,
    `${names.length} logged out: ${count('killed')} by a response lost with a killed process, ${count('paused')} by a paused process, ${count('unexplained')} unexplained`,
  );
  const lost = countLostGrants(attempts, tokens, instances);
  note(
    `${counters.grants.refresh_token} refreshes: ${lost.killed} lost with a process killed before it stored the tokens, ${lost.paused} unused after a pause; ${counters.reuseDetections} reuses punished, ${counters.toleratedReuses} tolerated`,
  );
  for (const { account, explanation } of logouts.slice(0, maxListed)) note(`${account}: ${explanation}`);
  if (logouts.length > maxListed) note(`and ${logouts.length - maxListed} more`);
}

/** Calls until `endsAt` or until logged out, sometimes twice in parallel; the balancer chooses the process. */
async function keepCalling(user, instances, endsAt, calls) {
  await delay(randomBetween(0, pauseMs[1]));
  while (Date.now() < endsAt && !user.isLoggedOut) {
    const parallel = Math.random() < 0.3 ? 2 : 1;
    const responses = await Promise.all(Array.from({ length: parallel }, () => callApi(user, instances)));
    for (const { status, error, ms, body } of responses) {
      calls.push({ status, error, ms });
      if (status === 401 && body.includes('login_required')) user.isLoggedOut = true;
    }
    await delay(randomBetween(...pauseMs));
  }
}

/** Calls as a load balancer does: skips processes known to be down, and tries another one after a broken connection. */
async function callApi(user, instances) {
  for (let attempt = 1; ; attempt += 1) {
    const response = await user.callApi(randomItem(instances.filter(({ isUp }) => isUp)));
    if (response.status !== 0 || attempt === 3) return response;
  }
}

/** Calls until the response is 200 or `login_required`; returns the last response after 30 s. */
async function callUntilFinal(user, instances) {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const response = await callApi(user, instances);
    if (response.status === 200 || response.body.includes('login_required') || Date.now() > deadline)
      return response;
    await delay(500);
  }
}

/** Kills and pauses processes until `endsAt`, at most two at a time; when it returns, all are up again. */
async function disturbInstances(instances, endsAt) {
  const counts = { kill: 0, pause: 0 };
  const disturbed = new Set();
  const failures = [];
  while (Date.now() < endsAt) {
    await delay(randomBetween(800, 2200));
    const undisturbed = instances.filter((each) => !disturbed.has(each));
    if (disturbed.size >= 2) continue;
    const instance = randomItem(undisturbed);
    const act = counts.kill <= counts.pause ? 'kill' : 'pause';
    counts[act] += 1;
    disturbed.add(instance);
    (act === 'kill' ? killAndRestart(instance) : pauseAndResume(instance))
      .catch((error) => failures.push(error))
      .finally(() => disturbed.delete(instance));
  }
  while (disturbed.size > 0) await delay(100);
  if (failures.length > 0) throw failures[0];
  return counts;
}

async function killAndRestart(instance) {
  await instance.kill();
  await delay(randomBetween(200, 1000));
  await instance.start();
}

async function pauseAndResume(instance) {
  instance.pause();
  await delay(randomBetween(3000, 5000));
  instance.resume();
}
