import { expressOpenidConnect } from '../apps/express-openid-connect.mjs';
import { startDeployment } from '../harness/deployment.mjs';
import { lifetimes } from './peer/common.mjs';
import { providerDown, storeDown, storeDownWithTimeout } from './peer/outages.mjs';
import { callsAtExpiry, slowCallOvertaken } from './peer/refreshes.mjs';
import { signOut, signOutDuringRefresh } from './peer/sign-outs.mjs';
import { threeTabs } from './peer/tabs.mjs';

const processes = 2;
const sizeFor = (short) =>
  short
    ? { rounds: 2, calls: 40, users: 5, downMs: 3000, storeDownMs: 3000, backgroundMs: 1500 }
    : { rounds: 10, calls: 40, users: 10, downMs: 5000, storeDownMs: 3000, backgroundMs: 5000 };
/** An ioredis option of the other app; Latchkey has its own limit and ignores this variable. */
const commandTimeout = { REDIS_COMMAND_TIMEOUT_MS: '1000' };

/** Each fault changes what all users of a deployment get, so the steps run one after the other. */
const steps = [
  callsAtExpiry,
  slowCallOvertaken,
  signOut,
  signOutDuringRefresh,
  providerDown,
  threeTabs,
  storeDown,
];

/** By key: what is measured, and what Latchkey promises. */
const rows = {
  grants: ['calls at expiry: refresh grants per round', '1 grant per round'],
  requests: ['... refresh requests per round', '1 refresh request per round'],
  reuse: ['... reuse detections', 'no refresh token is used twice'],
  calls: ['... responses', 'no call fails'],
  out: ['... rounds after which the next call fails', 'no round ends the session'],
  overtaken: [
    'slow call during which another call refreshes: next refresh token sent',
    'after a slow call the newest refresh token is sent',
  ],
  overtakenNext: ['... the API call that sent it', 'the refresh after a slow call works'],
  overtakenSession: ['... session endpoint reports signed in', 'a slow call does not end the session'],
  quietAlive: [
    'sign-out, no other requests: tokens active at the provider',
    'sign-out: no token stays active',
  ],
  quietOpens: ['... API call with the old cookie', 'sign-out: the old cookie gets 401'],
  alive: [
    'sign-out while the other process refreshes: tokens active at the provider',
    'sign-out during a refresh: no token stays active',
  ],
  session: [
    '... session endpoint reports signed in, old cookie',
    'sign-out during a refresh: the old cookie is not signed in',
  ],
  opens: ['... API call with the old cookie', 'sign-out during a refresh: the old cookie gets 401'],
  down: ['token expired, provider returns 503: calls', 'provider down: 503'],
  downOut: ['... 200 afterwards without a new sign-in', 'provider down: no user is logged out'],
  store: ['Redis killed, restarted after 3 s: calls', 'Redis down: 503 within 2 s'],
  storeCookies: ['... Set-Cookie with another value', 'Redis down: no cookie changes'],
  storeOut: ['... 200 afterwards without a new sign-in', 'Redis down: no user is logged out'],
  timeout: ['the same with ioredis commandTimeout 1 s: calls', 'Redis down again: 503 within 2 s'],
  timeoutCookies: ['... Set-Cookie with another value', 'Redis down again: no cookie changes'],
  timeoutOut: ['... 200 afterwards without a new sign-in', 'Redis down again: no user is logged out'],
  backward: [
    'three tabs start to sign in, finished last to first',
    'three tabs, last to first: all signed in',
  ],
  forward: [
    'three tabs start to sign in, finished first to last',
    'three tabs, first to last: all signed in',
  ],
};

/** The same hostile sequence on Latchkey and on express-openid-connect; only Latchkey's results are checked. */
export const peer = {
  name: 'peer',
  describe: (short) => {
    const { rounds, calls, users, downMs } = sizeFor(short);
    return `${processes} processes each, ${calls} parallel calls at expiry x ${rounds} rounds, ${users} users for the other steps, provider down ${downMs / 1000} s, compared with ${expressOpenidConnect.name}`;
  },
  promises: Object.fromEntries(Object.entries(rows).map(([key, [, promise]]) => [key, promise])),

  async run({ app, short, closeAtEnd, check, note, setTable }) {
    try {
      await expressOpenidConnect.prepare();
    } catch ({ message }) {
      note(`NOT RUN: ${message}`);
      return;
    }
    const size = sizeFor(short);
    const [ours, theirs] = await Promise.all([
      measure(app, 'peer-ours', size, closeAtEnd),
      measure(expressOpenidConnect, 'peer-theirs', size, closeAtEnd),
    ]);
    for (const key of Object.keys(rows)) check(key, ours[key].isKept, ours[key].measured);
    note(
      `${expressOpenidConnect.name} is set up in bench/chaos/other-libraries/express-openid-connect-server.mjs`,
    );
    note(
      'at sign-out the browser follows the redirect to the provider and confirms there; tokens outlive the provider session',
    );
    setTable([
      ['measurement', app.name, expressOpenidConnect.name],
      ...Object.entries(rows).map(([key, [label]]) => [label, ours[key].measured, theirs[key].measured]),
    ]);
  },
};

/** Runs all steps on one app, in two deployments side by side. */
async function measure(app, label, size, closeAtEnd) {
  const deploy = async (options) =>
    closeAtEnd(await startDeployment(app, { processes, settings: { lifetimes }, ...options }));
  const [results, timeoutResults] = await Promise.all([
    deploy({ label }).then((deployment) => runSteps(deployment, size)),
    deploy({ label: `${label}-timeout`, env: commandTimeout }).then((deployment) =>
      storeDownWithTimeout(deployment, size),
    ),
  ]);
  return { ...results, ...timeoutResults };
}

async function runSteps(deployment, size) {
  const results = {};
  for (const step of steps) Object.assign(results, await step(deployment, size));
  return results;
}
