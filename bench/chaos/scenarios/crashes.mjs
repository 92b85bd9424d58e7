import { between, pick } from '../harness/chance.mjs';
import { durations, inWords, tally } from '../harness/figures.mjs';
import { delay, eachOf } from '../harness/waiting.mjs';
import { explain, lostGrants } from './lost-grants.mjs';

const processes = 4;
const tokenSeconds = 5;
const graceSeconds = 30;
const sessionsOf = (short) => (short ? 50 : 500);
const secondsOf = (short) => (short ? 9 : 60);
/** Why somebody was logged out, from what nobody could have helped to what nobody can explain. */
const gravity = ['killed', 'paused', 'unexplained'];
const longestList = 10;
/** Each person calls about every two seconds. */
const pauseMs = [1000, 3000];

/** Processes are killed and paused at random under traffic; `grace` says how the provider takes a token used twice. */
const crashesWith = (name, grace) => ({
  name,
  done: (short) =>
    `${processes} processes, ${sessionsOf(short)} sessions, ${secondsOf(short)} s of traffic, tokens of ${tokenSeconds} s, random kill -9 and SIGSTOP 3-5 s; ${grace > 0 ? `the provider forgives a reuse within ${grace} s` : 'the provider punishes reuse'}`,
  promises: {
    logouts:
      grace > 0
        ? 'nobody is logged out'
        : 'nobody is logged out but by a grant whose answer was lost with a killed process',
    cookies: 'no cookie is changed',
    served: 'everybody else is served at the end, with the same cookie',
  },

  async run({ short, open, check, note }) {
    const settings = { accessTokenSeconds: tokenSeconds, graceSeconds: grace };
    const world = await open({ processes, settings });
    const people = await world.signIn(sessionsOf(short));
    await world.provider.befall({ path: 'token', delayMs: [0, 60], delayAfterMs: [0, 60] });

    const endsAt = Date.now() + secondsOf(short) * 1000;
    const calls = [];
    const traffic = Promise.all(people.map((person) => browse(person, world.instances, endsAt, calls)));
    const acts = await disturb(world.instances, endsAt);
    await traffic;
    await world.provider.befall();
    await delay(tokenSeconds * 1000); // everybody needs a refresh now, so what was lost comes out
    const atLast = await eachOf(people, 32, (person) => lastCall(person, world.instances));

    await judgeLogouts(world, grace, check, note);
    const cookies = world.incidentsOf('cookie').length;
    check('cookies', cookies === 0, `${cookies} answers set a cookie`);
    const out = new Set(world.incidentsOf('logout').map(({ browser }) => browser));
    const others = atLast.filter((_, index) => !out.has(people[index].name));
    check(
      'served',
      others.every(({ status }) => status === 200),
      inWords(tally(others)),
    );
    note(`${acts.kill} kills, ${acts.pause} pauses`);
    note(
      `calls: ${inWords(tally(calls))}, ${durations(calls)}; of the 401, the API's own: ${world.incidentsOf('api-401').length}`,
    );
  },
});

/** Every logout, and what the provider's ledger says about how it came to it. */
async function judgeLogouts(world, grace, check, note) {
  const { provider, instances } = world;
  const [attempts, tokens, counters] = await Promise.all([
    provider.attempts(),
    provider.tokens(),
    provider.counters(),
  ]);
  const names = [...new Set(world.incidentsOf('logout').map(({ browser }) => browser))];
  const stories = names
    .map((name) => explain(name, attempts, tokens, instances))
    .sort((a, b) => gravity.indexOf(b.kind) - gravity.indexOf(a.kind));
  const count = (kind) => stories.filter((each) => each.kind === kind).length;
  check(
    'logouts',
    grace > 0 ? names.length === 0 : count('killed') === names.length,
    `${names.length} logged out: ${count('killed')} by an answer lost with a killed process, ${count('paused')} by a paused one, ${count('unexplained')} unexplained`,
  );
  const lost = lostGrants(attempts, tokens, instances);
  note(
    `${counters.grants.refresh_token} refreshes, of these ${lost.killed} answered to a process killed before it could keep them and ${lost.paused} unused after a pause; ${counters.reuseDetections} reuses punished, ${counters.forgivenReuses} forgiven`,
  );
  for (const { account, story } of stories.slice(0, longestList)) note(`${account}: ${story}`);
  if (stories.length > longestList) note(`and ${stories.length - longestList} more`);
}

export const crashes = crashesWith('crashes', 0);
export const crashesGrace = crashesWith('crashes-grace', graceSeconds);

/** A person who calls now and then, sometimes twice at once, on whatever process the balancer takes. */
async function browse(person, instances, endsAt, calls) {
  await delay(between(0, pauseMs[1]));
  while (Date.now() < endsAt && !person.isOut) {
    const times = Math.random() < 0.3 ? 2 : 1;
    const answers = await Promise.all(Array.from({ length: times }, () => call(person, instances)));
    for (const { status, error, ms, body } of answers) {
      calls.push({ status, error, ms });
      if (status === 401 && body.includes('login_required')) person.isOut = true;
    }
    await delay(between(...pauseMs));
  }
}

/** As a balancer sends it: not to a process known to be down, and elsewhere when the connection broke. */
async function call(person, instances) {
  for (let attempt = 1; ; attempt += 1) {
    const answer = await person.api(pick(instances.filter(({ isUp }) => isUp)));
    if (answer.status !== 0 || attempt === 3) return answer;
  }
}

/** What a person gets in the end, when every process is up and nothing is slow. */
async function lastCall(person, instances) {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const answer = await call(person, instances);
    if (answer.status === 200 || answer.body.includes('login_required') || Date.now() > deadline)
      return answer;
    await delay(500);
  }
}

/** At most two processes at a time are down or paused; all are up again at the end. */
async function disturb(instances, endsAt) {
  const acts = { kill: 0, pause: 0 };
  const underWay = new Set();
  const failures = [];
  while (Date.now() < endsAt) {
    await delay(between(800, 2200));
    const calm = instances.filter((each) => !underWay.has(each));
    if (underWay.size >= 2) continue;
    const instance = pick(calm);
    const act = acts.kill <= acts.pause ? 'kill' : 'pause';
    acts[act] += 1;
    underWay.add(instance);
    (act === 'kill' ? killAndStart(instance) : pauseAndResume(instance))
      .catch((error) => failures.push(error))
      .finally(() => underWay.delete(instance));
  }
  while (underWay.size > 0) await delay(100);
  if (failures.length > 0) throw failures[0];
  return acts;
}

async function killAndStart(instance) {
  await instance.kill();
  await delay(between(200, 1000));
  await instance.start();
}

async function pauseAndResume(instance) {
  instance.pause();
  await delay(between(3000, 5000));
  instance.resume();
}
