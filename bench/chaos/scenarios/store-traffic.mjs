import { between, pick } from '../harness/chance.mjs';
import { greatest, inWords, tally } from '../harness/figures.mjs';
import { delay, until } from '../harness/waiting.mjs';

/** What needs the session is answered within this time while the store is away. */
const longestAnswerMs = 2000;
const longestRecoveryMs = 20_000;

/** People whose tokens last, and people who need a refresh with nearly every call. */
export const lifetimes = { steady: 3600, brief: 1 };

/**
 * Traffic of all people and of strangers on all processes while `fault` lasts, and until everybody is served again.
 * @param {{ begin(): unknown, end(): unknown }} fault
 */
export async function throughFault(world, people, fault, holdMs) {
  const { instances, app } = world;
  const state = { phase: 'before', answers: [], pages: [] };
  const incidentsBefore = world.incidents.length;
  const traffic = [
    ...people.map((person) => keepCalling(person, instances, state)),
    ...instances.map((instance) => keepReading(world.browser('stranger'), app.paths.public, instance, state)),
    ...instances.map((instance, index) => keepReading(people[index], app.paths.public, instance, state)),
  ];
  await delay(1200); // long enough that refreshes are under way, too
  await fault.begin();
  await delay(100); // what was under way already may still end well
  state.phase = 'during';
  await delay(holdMs);
  state.phase = 'ending';
  await fault.end();
  state.phase = 'after';
  const endedAt = Date.now();
  const loggedOut = () => namesOf(world.incidents.slice(incidentsBefore), 'logout');
  const others = () => people.filter(({ name }) => !loggedOut().has(name));
  const isBack = await until(
    () => others().every(({ servedAt }) => servedAt > endedAt),
    longestRecoveryMs,
    20,
  );
  state.phase = 'over';
  await Promise.all(traffic);

  const unavailable = state.answers.filter(({ status }) => status === 503);
  return {
    statuses: tally(state.answers),
    pages: tally(state.pages),
    slowestMs: greatest(state.answers.map(({ ms }) => ms)),
    slowestPageMs: greatest(state.pages.map(({ ms }) => ms)),
    withoutRetryAfter: unavailable.filter(({ headers }) => headers['retry-after'] === undefined).length,
    loggedOut: loggedOut(),
    cookies: namesOf(world.incidents.slice(incidentsBefore), 'cookie').size,
    recoveryMs: isBack ? Math.max(...others().map(({ servedAt }) => servedAt)) - endedAt : undefined,
  };
}

/** Whether all that is promised of a store that is away was kept, and the figures. */
export function judge(seen, allowed = ['503']) {
  const { statuses, pages, loggedOut, cookies } = seen;
  const isKept =
    Object.keys(statuses).length > 0 &&
    Object.keys(statuses).every((status) => allowed.includes(status)) &&
    Object.keys(pages).join() === '200' &&
    seen.slowestMs <= longestAnswerMs &&
    seen.slowestPageMs <= longestAnswerMs &&
    seen.withoutRetryAfter === 0 &&
    loggedOut.size === 0 &&
    cookies === 0 &&
    seen.recoveryMs !== undefined;
  const recovered =
    seen.recoveryMs === undefined ? 'not served again' : `served again after ${seen.recoveryMs} ms`;
  return [
    isKept,
    `calls ${inWords(statuses)}, slowest ${seen.slowestMs.toFixed(0)} ms, ${seen.withoutRetryAfter} without Retry-After; pages ${inWords(pages)}, slowest ${seen.slowestPageMs.toFixed(0)} ms; ${recovered}; ${loggedOut.size} logged out, ${cookies} cookies changed`,
  ];
}

/** Calls at their own pace, whether the last one was answered or not. */
async function keepCalling(person, instances, state) {
  const underWay = [];
  person.servedAt = 0;
  while (state.phase !== 'over') {
    underWay.push(callOnce(person, pick(instances), state));
    await delay(between(200, 600));
  }
  await Promise.all(underWay);
}

async function callOnce(person, instance, state) {
  const begunIn = state.phase;
  const answer = await person.api(instance);
  if (answer.status === 200) person.servedAt = Date.now();
  // Begun while the store was away and served in time because it came back: says nothing.
  const isServedLater = state.phase !== 'during' && answer.status === 200 && answer.ms <= longestAnswerMs;
  if (isAway(begunIn) && !isServedLater) state.answers.push(answer);
}

/** Pages that need no session, read by somebody who may have one. */
async function keepReading(person, paths, instance, state) {
  while (state.phase !== 'over') {
    for (const path of paths) {
      const begunIn = state.phase;
      const answer = await person.send(instance, path, { navigate: true });
      // Who is known to be signed in is led on from the sign-in page.
      const isLedOn = path === '/login' && answer.status === 303;
      if (isAway(begunIn) && !isLedOn) state.pages.push(answer);
    }
    await delay(100);
  }
}

const isAway = (phase) => phase === 'during' || phase === 'ending';

function namesOf(incidents, kind) {
  return new Set(incidents.filter((each) => each.kind === kind).map(({ browser }) => browser));
}
