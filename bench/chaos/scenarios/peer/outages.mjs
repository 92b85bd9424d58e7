import { randomBetween } from '../../harness/random.mjs';
import { max } from '../../harness/stats.mjs';
import { delay } from '../../harness/wait-for.mjs';
import { createResult, formatStatuses, isServed, lifetimes, signIn } from './common.mjs';

const maxRecoveryMs = 15_000;
const maxResponseMs = 2000;
/** A user who gets this many 401s after a fault has lost the session, and stops calling. */
const maxRefusals = 5;

/** The token endpoint returns 503 while users with expired tokens keep calling. */
export async function providerDown(deployment, { users: count, downMs }) {
  const { provider } = deployment;
  const users = await signIn(deployment, count, 'brief-outage');
  await delay(lifetimes.brief * 1000 + 50);
  const result = await keepCallingDuringFault(deployment, users, downMs, {
    begin: () => provider.setFaults({ path: 'token', response: { status: 503 } }),
    end: () => provider.setFaults(),
  });
  return {
    down: createResult(formatStatuses(result.responses), result.responses.every(isUnavailableOrRecovered)),
    downOut: createResult(formatRecovery(result, count), result.recovered === count),
  };
}

/** Redis is killed and restarted with its data, while users with valid tokens keep calling. */
export async function storeDown(deployment, { users: count, storeDownMs }) {
  const { redis } = deployment;
  const users = await signIn(deployment, count, 'steady');
  const { responses, ...result } = await keepCallingDuringFault(deployment, users, storeDownMs, {
    begin: () => redis.kill(),
    end: () => redis.start(),
  });
  const slowestMs = max(responses.map(({ ms }) => ms));
  const isPrompt = responses.every(isUnavailableOrRecovered) && slowestMs <= maxResponseMs;
  return {
    store: createResult(`${formatStatuses(responses)}, slowest ${slowestMs.toFixed(0)} ms`, isPrompt),
    storeCookies: createResult(
      `${result.cleared} cleared, ${result.replaced} replaced`,
      result.cleared + result.replaced === 0,
    ),
    storeOut: createResult(formatRecovery(result, count), result.recovered === count),
  };
}

/** The same, in a deployment whose Redis client has a short command timeout. */
export async function storeDownWithTimeout(deployment, size) {
  const { store, storeCookies, storeOut } = await storeDown(deployment, size);
  return { timeout: store, timeoutCookies: storeCookies, timeoutOut: storeOut };
}

/**
 * Each user sends one call after the other during a fault, and then until one succeeds. `responses` are those to calls
 * sent during the fault; `isAfterFault` marks a response that arrived when the fault had ended.
 */
async function keepCallingDuringFault({ instances }, users, faultMs, { begin, end }) {
  const responses = [];
  const changes = { cleared: 0, replaced: 0 };
  let phase = 'during';
  let endedAt;
  await begin();
  const traffic = users.map(async (user) => {
    const cookiesBefore = new Map(user.cookies);
    let refusals = 0;
    for (let index = 0; phase !== 'over' && refusals < maxRefusals; index += 1) {
      const phaseAtStart = phase;
      const response = await user.callApi(instances[index % instances.length]);
      if (phaseAtStart === 'during') responses.push({ ...response, isAfterFault: phase !== 'during' });
      countCookieChanges(changes, cookiesBefore, response);
      if (phaseAtStart === 'after' && isServed(response)) {
        user.recoveryMs = Date.now() - endedAt;
        return;
      }
      if (phaseAtStart === 'after' && response.status === 401) refusals += 1;
      await delay(randomBetween(200, 300));
    }
  });
  await delay(faultMs);
  phase = 'ending';
  await end();
  endedAt = Date.now();
  phase = 'after';
  const timer = setTimeout(() => {
    phase = 'over';
  }, maxRecoveryMs);
  await Promise.all(traffic);
  clearTimeout(timer);
  const recoveryTimes = users.flatMap(({ recoveryMs }) => (recoveryMs === undefined ? [] : [recoveryMs]));
  return { responses, ...changes, recovered: recoveryTimes.length, lastMs: max(recoveryTimes) };
}

function countCookieChanges(changes, cookiesBefore, { headers }) {
  for (const each of headers['set-cookie'] ?? []) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(each);
    if (!cookiesBefore.has(name) || cookiesBefore.get(name) === value) continue;
    changes[value === '' ? 'cleared' : 'replaced'] += 1;
  }
}

const formatRecovery = ({ recovered, lastMs }, count) =>
  recovered === 0 ? `0 of ${count}` : `${recovered} of ${count}, the last after ${lastMs} ms`;

/** 503, or a 200 that arrived after the fault had ended. */
const isUnavailableOrRecovered = (response) =>
  response.status === 503 || (response.isAfterFault && isServed(response));
