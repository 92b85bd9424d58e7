import { delay } from '../harness/wait-for.mjs';
import {
  callUntilServed,
  checkSessions,
  measureSessions,
  outages,
  sessionPromises,
  signInExpired,
  startRefreshes,
} from './refreshes-in-outage.mjs';

const processes = 3;
/** A process sends ten requests to the provider at a time, so that all refreshes are in progress at once. */
const usersFor = (short) => (short ? 6 : 24);
/** A process that is stopped may leave a lease behind, which expires after six seconds. */
const maxServedSeconds = 8;

/** Runs `round(deployment, outage)` for each kind of outage in parallel, and checks the sessions of all. */
async function runOutages({ name, deploy, check, note, round }) {
  const measured = await Promise.all(
    outages.map(async (outage) =>
      round(await deploy({ label: `${name}-${outage.kind}`, processes }), outage),
    ),
  );
  checkSessions(measured.flat(), maxServedSeconds, { check, note });
}

const formatSeconds = (list, separator) => list.map((ms) => ms / 1000).join(separator);

const responseMs = 1500;
const stopOutageMs = 4000;
const maxExitMs = 5000;

/** Processes are stopped while Redis is unavailable and they hold tokens that they cannot write. */
export const stopInOutage = {
  name: 'stop-in-outage',
  describe: (short) =>
    `${usersFor(short)} refreshes in progress, provider responds after ${responseMs / 1000} s, Redis unavailable ${stopOutageMs / 1000} s (killed; paused), 2 of ${processes} processes get SIGTERM meanwhile, before and after the response`,
  promises: {
    exit: `they exit with code 0, within ${maxExitMs / 1000} s after Redis is back`,
    ...sessionPromises(maxServedSeconds),
  },

  async run({ short, deploy, check, note }) {
    const exits = [];
    await runOutages({
      name: 'stop-in-outage',
      deploy,
      check,
      note,
      async round(deployment, outage) {
        const { redis, instances } = deployment;
        const [early, late, ...others] = instances;
        const users = await signInExpired(deployment, usersFor(short) / 2);
        const calls = await startRefreshes(deployment, users, [early, late], responseMs);
        const stop = async (instance) => {
          const code = await instance.terminate();
          exits.push({ kind: outage.kind, name: instance.name, code, at: Date.now(), backAt: () => backAt });
        };
        let backAt = Infinity;
        const beganAt = Date.now();
        await outage.begin(redis);
        const responses = callUntilServed(users, others);
        await delay(responseMs / 2);
        const stopping = [stop(early)]; // the response is still to come
        await delay(beganAt + responseMs * 1.5 - Date.now());
        stopping.push(stop(late)); // the tokens are waiting to be written
        await delay(beganAt + stopOutageMs - Date.now());
        backAt = Date.now();
        await outage.end(redis);
        await Promise.all(stopping);
        const all = [...(await responses), ...(await Promise.all(calls))];
        return measureSessions(deployment, {
          label: outage.kind,
          users,
          responses: all,
          backAt,
          refreshOn: others,
        });
      },
    });
    check(
      'exit',
      exits.every(({ code, at, backAt }) => code === 0 && at >= backAt() && at - backAt() <= maxExitMs),
      exits
        .map(
          ({ kind, name, code, at, backAt }) => `${name} (${kind}): code ${code} after ${at - backAt()} ms`,
        )
        .join(', '),
    );
  },
};

/** Just before the request times out. The response then comes when others may refresh again, 2.5 s after Redis is back. */
const slowResponseMs = 9500;
/** Shorter and longer than the six seconds of the lease. */
const leaseOutagesMs = (short) => (short ? [6300] : [5600, 6300]);

/** Redis is unavailable until the leases have expired, and the provider responds only after that. */
export const longLease = {
  name: 'long-lease',
  describe: (short) =>
    `${usersFor(short)} refreshes in progress, provider responds after ${slowResponseMs / 1000} s, Redis unavailable ${formatSeconds(leaseOutagesMs(short), ' and ')} s (killed; paused), calls on all ${processes} processes`,
  promises: sessionPromises(maxServedSeconds),

  run: ({ short, deploy, check, note }) =>
    runOutages({
      name: 'long-lease',
      deploy,
      check,
      note,
      async round(deployment, outage) {
        const rounds = [];
        for (const outageMs of leaseOutagesMs(short))
          rounds.push(
            await runOutage(deployment, outage, {
              count: usersFor(short) / 2,
              outageMs,
              responseMs: slowResponseMs,
              prefix: `user-${outageMs}`,
            }),
          );
        return rounds;
      },
    }),
};

const longOutageMs = 65_000;

/** Redis is unavailable for more than a minute, and the provider grants tokens meanwhile. */
export const longOutage = {
  name: 'long-outage',
  describe: (short) =>
    `${usersFor(short)} refreshes granted while Redis is unavailable ${longOutageMs / 1000} s (killed; paused), calls on all ${processes} processes`,
  promises: sessionPromises(maxServedSeconds),

  run: ({ short, deploy, check, note }) =>
    runOutages({
      name: 'long-outage',
      deploy,
      check,
      note,
      round: (deployment, outage) =>
        runOutage(deployment, outage, {
          count: usersFor(short) / 2,
          outageMs: longOutageMs,
          responseMs,
          pauseMs: 1000,
        }),
    }),
};

/** One outage that begins when all refreshes have been granted, with calls before, during and after it. */
async function runOutage(deployment, outage, { count, outageMs, responseMs: providerMs, prefix, pauseMs }) {
  const { redis, instances } = deployment;
  const users = await signInExpired(deployment, count, prefix);
  const calls = await startRefreshes(deployment, users, instances, providerMs);
  const responses = callUntilServed(users, instances, { pauseMs, maxMs: outageMs + 30_000 });
  await delay(200); // these calls now wait for the leases
  await outage.begin(redis);
  await delay(outageMs);
  const backAt = Date.now();
  await outage.end(redis);
  const all = [...(await responses), ...(await Promise.all(calls))];
  return measureSessions(deployment, {
    label: outage.kind,
    users,
    responses: all,
    backAt,
    refreshOn: instances,
  });
}

const startOutageMs = 8000;
/** Before and after the end of the outage. */
const startResponsesMs = [2000, 9500];

/** A process that is started while Redis is unavailable gets the first requests after it. */
export const startInOutage = {
  name: 'start-in-outage',
  describe: (short) =>
    `${usersFor(short)} refreshes in progress, provider responds after ${formatSeconds(startResponsesMs, ' or ')} s, Redis unavailable ${startOutageMs / 1000} s (killed; paused); only two processes started 4 s and 0.3 s before its end get calls`,
  promises: sessionPromises(maxServedSeconds),

  run: ({ app, short, deploy, check, note }) =>
    runOutages({
      name: 'start-in-outage',
      deploy,
      check,
      note,
      async round(deployment, outage) {
        const { redis, instances } = deployment;
        const users = await signInExpired(deployment, usersFor(short) / 2);
        const half = users.length / 2;
        const calls = [
          ...(await startRefreshes(deployment, users.slice(0, half), instances, startResponsesMs[0])),
          ...(await startRefreshes(deployment, users.slice(half), instances, startResponsesMs[1])),
        ];
        const beganAt = Date.now();
        await outage.begin(redis);
        const startAndCall = async (name, beforeEndMs) => {
          await delay(beganAt + startOutageMs - beforeEndMs - Date.now());
          const instance = app.createInstance({ name, deployment, env: { REDIS_URL: redis.url } });
          instances.push(instance); // the deployment stops it
          await instance.start();
          return callUntilServed(users, [instance], { pauseMs: 100 });
        };
        const started = [startAndCall('p-early', 4000), startAndCall('p-late', 300)];
        await delay(beganAt + startOutageMs - Date.now());
        const backAt = Date.now();
        await outage.end(redis);
        const responses = (await Promise.all([...started, Promise.all(calls)])).flat();
        return measureSessions(deployment, {
          label: outage.kind,
          users,
          responses,
          backAt,
          refreshOn: instances,
        });
      },
    }),
};
