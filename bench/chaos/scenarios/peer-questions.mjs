import { between } from '../harness/chance.mjs';
import { greatest, inWords, tally, total } from '../harness/figures.mjs';
import { delay, until } from '../harness/waiting.mjs';
import { stillOfUse } from './logout.mjs';

/** Seconds that the tokens of people last whose names begin so; the others' outlast the scenario. */
export const lifetimes = { brief: 1, burst: 2, overtaken: 2, steady: 3600 };
const longestRecoveryMs = 15_000;
const longestAnswerMs = 2000;
/** Who is refused so often after a fault is not waiting for anything. */
const enoughRefusals = 5;

const answer = (measured, isKept) => ({ measured, isKept });
const isServed = ({ status }) => status === 200;

/** Everybody arrives when one session's token is over; who loses the login signs in anew for the next round. */
async function callsAtExpiry({ provider, instances, ...world }, { rounds, calls }) {
  let person;
  let ended = 0;
  const answers = [];
  const grants = [];
  const requests = [];
  const before = (await provider.counters()).reuseDetections;
  for (let round = 0; round < rounds; round += 1) {
    if (!person) [person] = await signIn({ instances, ...world }, 1, `burst-${round}`);
    await provider.befall({ path: 'token', delayMs: [0, 300] });
    const known = await provider.attempts(person.name);
    const last = known.filter(({ outcome }) => outcome === 'granted').at(-1);
    await delay(Math.max(0, last.answeredAt + lifetimes.burst * 1000 + 50 - Date.now()));
    const burst = Array.from({ length: calls }, (_, index) =>
      person.api(instances[index % instances.length]),
    );
    answers.push(...(await Promise.all(burst)));
    const made = (await provider.attempts(person.name)).slice(known.length);
    requests.push(made.length);
    grants.push(made.filter(({ outcome }) => outcome === 'granted').length);
    await provider.befall();
    if (isServed(await person.api(instances[0]))) continue;
    ended += 1;
    person = undefined;
  }
  const reuses = (await provider.counters()).reuseDetections - before;
  return {
    grants: answer(
      range(grants),
      grants.every((each) => each === 1),
    ),
    requests: answer(
      range(requests),
      requests.every((each) => each === 1),
    ),
    reuse: answer(`${reuses} in ${rounds} rounds`, reuses === 0),
    calls: answer(statuses(answers), answers.every(isServed)),
    out: answer(`${ended} of ${rounds}`, ended === 0),
  };
}

/** A call that is answered late by the API; before it ends, another one on the other process refreshes. */
async function slowCallOvertaken(world, { people: count }) {
  const { provider, instances } = world;
  const people = await signIn(world, count, 'overtaken');
  const seen = await Promise.all(
    people.map(async (person) => {
      const at = (ms) => delay(Math.max(0, person.signedInAt + ms - Date.now()));
      await at(500);
      const slow = person.api(instances[0], { query: '?wait=2500' });
      await at(2200);
      await person.api(instances[1]);
      await slow;
      const before = await provider.attempts(person.name);
      const newest = before.filter(({ outcome }) => outcome === 'granted').at(-1);
      await at(4500);
      const next = await person.api(instances[0]);
      const sent = (await provider.attempts(person.name)).slice(before.length)[0]?.spent;
      return { next, which: whichToken(sent, newest, before), isIn: await person.isSignedIn(instances[0]) };
    }),
  );
  const which = tally(seen.map((each) => ({ status: each.which })));
  const nexts = seen.map(({ next }) => next);
  const known = seen.filter(({ isIn }) => isIn).length;
  return {
    overtaken: answer(inWords(which), which.newest === count),
    overtakenNext: answer(statuses(nexts), nexts.every(isServed)),
    overtakenSession: answer(`${known} of ${count}`, known === count),
  };
}

function whichToken(sent, newest, attempts) {
  if (sent === undefined) return 'none';
  if (sent === newest.refresh) return 'newest';
  return attempts.some(({ spent }) => spent === sent) ? 'one already spent' : 'another';
}

/** A person signs out on one process with nothing under way. */
async function signOut(world, { people: count, backgroundMs }) {
  const people = await signIn(world, count, 'steady-leaver');
  const { alive, opens } = await leave(world, people, backgroundMs, (person) =>
    signOutEverywhere(person, world.instances[1]),
  );
  return { quietAlive: alive, quietOpens: opens };
}

/** The grant has happened and its answer is on the way to one process, when the person signs out on the other. */
async function signOutDuringRefresh(world, { people: count, backgroundMs }) {
  const { provider, instances } = world;
  const people = await signIn(world, count, 'brief-leaver');
  await delay(lifetimes.brief * 1000 + 50);
  await provider.befall({ path: 'token', delayAfterMs: [300, 400] });
  const found = await leave(world, people, backgroundMs, async (person) => {
    const call = person.api(instances[0]);
    await delay(between(100, 200));
    await signOutEverywhere(person, instances[1]);
    await call;
  });
  await provider.befall();
  return found;
}

/** In the app, and at the provider when the app sends the browser there. */
async function signOutEverywhere(person, instance) {
  await person.logOutAtProvider(await person.logOut(instance));
}

/** What is left when everybody has gone: at the provider, and for somebody who kept the old cookies. */
async function leave({ provider, instances }, people, backgroundMs, go) {
  for (const person of people) person.oldCookies = new Map(person.cookies);
  await Promise.all(people.map(go));
  const names = people.map(({ name }) => name);
  let active;
  await until(
    async () => {
      ({ active } = await stillOfUse(provider, names));
      return active.length === 0;
    },
    backgroundMs,
    250,
  );
  const owners = new Set(active.map(({ account }) => account)).size;
  const comeBack = async (question) => {
    const answers = [];
    for (const person of people) {
      person.cookies = new Map(person.oldCookies);
      answers.push(await question(person));
    }
    return answers;
  };
  const known = (await comeBack((person) => person.isSignedIn(instances[0]))).filter((isIn) => isIn).length;
  const calls = await comeBack((person) => person.api(instances[1]));
  const all = people.length;
  return {
    alive: answer(`${active.length} tokens, of ${owners} of ${all} people`, active.length === 0),
    session: answer(`${known} of ${all}`, known === 0),
    opens: answer(
      statuses(calls),
      calls.every(({ status }) => status === 401),
    ),
  };
}

/** The token endpoint says 503 while people whose tokens are over call, one call after the other. */
async function providerDown(world, { people: count, downMs }) {
  const { provider } = world;
  const people = await signIn(world, count, 'brief-outage');
  await delay(lifetimes.brief * 1000 + 50);
  const seen = await through(world, people, downMs, {
    begin: () => provider.befall({ path: 'token', answer: { status: 503 } }),
    end: () => provider.befall(),
  });
  return {
    down: answer(statuses(seen.answers), seen.answers.every(isToldOrLate)),
    downOut: answer(signedIn(seen, count), seen.back === count),
  };
}

/** Redis is killed and comes back with its data, while people call whose tokens are good. */
async function storeAway(world, { people: count, awayMs }) {
  const { redis } = world;
  const people = await signIn(world, count, 'steady');
  const { answers, ...seen } = await through(world, people, awayMs, {
    begin: () => redis.kill(),
    end: () => redis.start(),
  });
  const slowest = greatest(answers.map(({ ms }) => ms));
  const isTold = answers.every(isToldOrLate) && slowest <= longestAnswerMs;
  return {
    away: answer(`${statuses(answers)}, slowest ${slowest.toFixed(0)} ms`, isTold),
    awayCookies: answer(
      `${seen.cleared} cleared, ${seen.replaced} replaced`,
      seen.cleared + seen.replaced === 0,
    ),
    awayOut: answer(signedIn(seen, count), seen.back === count),
  };
}

/** The same, in a world where the client of Redis was told not to wait for long. */
export async function storeAwayBriefly(world, size) {
  const { away, awayCookies, awayOut } = await storeAway(world, size);
  return { brief: away, briefCookies: awayCookies, briefOut: awayOut };
}

/** Three tabs of one browser wait at the provider; the order in which they come back. */
async function tabs(world, name, order) {
  const { instances } = world;
  const person = world.browser(name);
  person.mayChange = true;
  const waiting = [];
  for (const index of order.keys()) waiting.push(await person.beginSignIn(instances[index % 2]));
  const results = [];
  for (const index of order) {
    const { status } = await person.finishSignIn(instances[index % 2], waiting[index]);
    const isIn = await person.isSignedIn(instances[0]);
    results.push({ status, isIn });
  }
  return answer(
    results.map(({ status, isIn }) => `${status} ${isIn ? 'signed in' : 'not signed in'}`).join(', '),
    results.every(({ status, isIn }) => isIn && (status === 302 || status === 303)),
  );
}

async function threeTabs(world) {
  return {
    backward: await tabs(world, 'steady-backward', [2, 1, 0]),
    forward: await tabs(world, 'steady-forward', [0, 1, 2]),
  };
}

export const questions = [
  callsAtExpiry,
  slowCallOvertaken,
  signOut,
  signOutDuringRefresh,
  providerDown,
  threeTabs,
  storeAway,
];

/** People signed in whose browsers take every cookie they are given from here on. */
async function signIn({ browser, instances }, count, prefix) {
  const people = Array.from({ length: count }, (_, index) => browser(`${prefix}-${index}`));
  for (const [index, person] of people.entries()) {
    await person.signIn(instances[index % instances.length]);
    person.mayChange = true;
  }
  return people;
}

/**
 * Each person makes one call after the other during a fault, and then until they are served. `answers` are those to
 * calls begun during it; `isLate` says of one that it came when the fault was over.
 */
async function through({ instances }, people, holdMs, { begin, end }) {
  const answers = [];
  const cookies = { cleared: 0, replaced: 0 };
  let phase = 'during';
  let endedAt;
  await begin();
  const traffic = people.map(async (person) => {
    const held = new Map(person.cookies);
    let refusals = 0;
    for (let turn = 0; phase !== 'over' && refusals < enoughRefusals; turn += 1) {
      const begunIn = phase;
      const got = await person.api(instances[turn % instances.length]);
      if (begunIn === 'during') answers.push({ ...got, isLate: phase !== 'during' });
      countChanges(cookies, held, got);
      if (begunIn === 'after' && isServed(got)) {
        person.backAfter = Date.now() - endedAt;
        return;
      }
      if (begunIn === 'after' && got.status === 401) refusals += 1;
      await delay(between(200, 300));
    }
  });
  await delay(holdMs);
  phase = 'ending';
  await end();
  endedAt = Date.now();
  phase = 'after';
  const tooLong = setTimeout(() => {
    phase = 'over';
  }, longestRecoveryMs);
  await Promise.all(traffic);
  clearTimeout(tooLong);
  const waits = people.flatMap(({ backAfter }) => (backAfter === undefined ? [] : [backAfter]));
  return { answers, ...cookies, back: waits.length, lastMs: greatest(waits) };
}

function countChanges(cookies, held, { headers }) {
  for (const each of headers['set-cookie'] ?? []) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(each);
    if (!held.has(name) || held.get(name) === value) continue;
    cookies[value === '' ? 'cleared' : 'replaced'] += 1;
  }
}

const signedIn = ({ back, lastMs }, count) =>
  back === 0 ? `0 of ${count}` : `${back} of ${count}, the last served after ${lastMs} ms`;

const statuses = (answers) =>
  inWords(
    tally(
      answers.map(({ status, error, isLate }) => ({
        status: `${error ?? status}${isLate ? ' after its end' : ''}`,
      })),
    ),
  );

/** Told to come later, or served because the fault was over in time. */
const isToldOrLate = (each) => each.status === 503 || (each.isLate && isServed(each));

function range(numbers) {
  const [least, most] = [Math.min(...numbers), greatest(numbers)];
  const mean = total(numbers) / numbers.length;
  return least === most ? String(least) : `${least} to ${most}, mean ${mean.toFixed(1)}`;
}
