import { expressOpenidConnect } from '../apps/express-openid-connect.mjs';
import { openWorld } from '../harness/world.mjs';
import { lifetimes, questions, storeAwayBriefly } from './peer-questions.mjs';

const processes = 2;
const shape = (short) =>
  short
    ? { rounds: 2, calls: 40, people: 5, downMs: 3000, awayMs: 3000, backgroundMs: 1500 }
    : { rounds: 10, calls: 40, people: 10, downMs: 5000, awayMs: 3000, backgroundMs: 5000 };
/** An ioredis option; Latchkey has a limit of its own and does not read it. */
const haste = { REDIS_COMMAND_TIMEOUT_MS: '1000' };

/** What is asked, and what Latchkey promises. */
const rows = {
  grants: ['calls at expiry: refresh grants per round', '1 grant per round'],
  requests: ['... refresh requests per round', '1 refresh request per round'],
  reuse: ['... reuse detections', 'no refresh token is used twice'],
  calls: ['... answers', 'no call fails'],
  out: ['... rounds after which the next call fails', 'no round ends the login'],
  overtaken: [
    'call begun before a refresh, ended after it: refresh token sent next',
    'a slow call leaves the newest refresh token',
  ],
  overtakenNext: ['... the API call that sent it', 'the refresh after a slow call works'],
  overtakenSession: ['... session route says signed in', 'a slow call leaves the login'],
  quietAlive: ['sign-out, nothing under way: tokens alive at the provider', 'sign-out: no token is alive'],
  quietOpens: ['... API call with the old cookie', 'sign-out: the old cookie opens nothing'],
  alive: [
    'sign-out while the other process refreshes: tokens alive at the provider',
    'sign-out during a refresh: no token is alive',
  ],
  session: ['... session route says signed in, old cookie', 'and the old cookie is nobody'],
  opens: ['... API call with the old cookie', 'and opens nothing'],
  down: ['token expired, provider answers 503: calls', 'provider away: 503'],
  downOut: ['... served afterwards without a new sign-in', 'provider away: nobody is logged out'],
  away: ['Redis killed and back after 3 s: calls', 'Redis away: 503 within 2 s'],
  awayCookies: ['... Set-Cookie of another value', 'Redis away: no cookie changes'],
  awayOut: ['... served afterwards without a new sign-in', 'Redis away: nobody is logged out'],
  brief: ['the same with ioredis commandTimeout 1 s: calls', 'Redis away again: 503 within 2 s'],
  briefCookies: ['... Set-Cookie of another value', 'Redis away again: no cookie changes'],
  briefOut: ['... served afterwards without a new sign-in', 'Redis away again: nobody is logged out'],
  backward: [
    'three tabs begin to sign in, finished last to first',
    'three tabs, last to first: all signed in',
  ],
  forward: [
    'three tabs begin to sign in, finished first to last',
    'three tabs, first to last: all signed in',
  ],
};

/** The same hostile sequence on Latchkey and on express-openid-connect, whose results are facts and no promises. */
export const peer = {
  name: 'peer',
  done: (short) => {
    const { rounds, calls, people, downMs } = shape(short);
    return `${processes} processes each, ${calls} parallel calls at expiry x ${rounds} rounds, ${people} people for the rest, provider down ${downMs / 1000} s, beside ${expressOpenidConnect.name}`;
  },
  promises: Object.fromEntries(Object.entries(rows).map(([key, [, promise]]) => [key, promise])),

  async run({ app, short, closing, check, note, tabulate }) {
    try {
      await expressOpenidConnect.prepare();
    } catch ({ message }) {
      note(`NOT RUN: ${message}`);
      return;
    }
    const size = shape(short);
    const [ours, theirs] = await Promise.all([app, expressOpenidConnect].map((each) => examine(each, size)));
    for (const key of Object.keys(rows)) check(key, ours[key].isKept, ours[key].measured);
    note(
      `${expressOpenidConnect.name} runs as bench/chaos/peers/express-openid-connect-server.mjs sets it up`,
    );
    note(
      'after a sign-out the browser follows to the provider and confirms there; tokens outlive its session',
    );
    tabulate([
      ['question', app.name, expressOpenidConnect.name],
      ...Object.entries(rows).map(([key, [question]]) => [
        question,
        ours[key].measured,
        theirs[key].measured,
      ]),
    ]);

    async function examine(candidate, how) {
      const label = `peer-${candidate.paths === app.paths ? 'ours' : 'theirs'}`;
      const open = async (more) =>
        closing(await openWorld(candidate, { processes, settings: { lifetimes }, ...more }));
      const [found, hasty] = await Promise.all([
        open({ label }).then((world) => askAll(world, how)),
        open({ label: `${label}-hasty`, env: haste }).then((world) => storeAwayBriefly(world, how)),
      ]);
      return { ...found, ...hasty };
    }
  },
};

/** One question after the other: each changes what the provider or Redis does to everybody. */
async function askAll(world, how) {
  const found = {};
  for (const ask of questions) Object.assign(found, await ask(world, how));
  return found;
}
