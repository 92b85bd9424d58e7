import { delay, waitFor } from '../harness/wait-for.mjs';

const json = { 'content-type': 'application/json' };
const html = { 'content-type': 'text/html' };
const oauthError = (status, error) => ({ status, headers: json, body: JSON.stringify({ error }) });
const htmlPage = (status) => ({ status, headers: html, body: '<html><body>Sorry</body></html>' });
const maxRecoveryMs = 40_000;

/** The status of a call with a valid and with an expired token, and whether each user is still signed in afterwards. */
const served = { valid: 200, expired: 200, validSignedIn: true, expiredSignedIn: true };
const deferred = { valid: 200, expired: 503, validSignedIn: true, expiredSignedIn: true };
const ended = { valid: 401, expired: 401, validSignedIn: false, expiredSignedIn: false };
const refused = { valid: 200, expired: 401, validSignedIn: true, expiredSignedIn: false };

/** The rows of "Refresh outcomes" in ARCHITECTURE.md, each on its own process. */
const outcomes = [
  { name: 'tokens', expected: served },
  { name: 'invalid_grant', response: oauthError(400, 'invalid_grant'), expected: ended },
  { name: 'invalid_client', response: oauthError(401, 'invalid_client'), expected: deferred },
  { name: 'unauthorized_client', response: oauthError(400, 'unauthorized_client'), expected: deferred },
  { name: 'invalid_request', response: oauthError(400, 'invalid_request'), expected: refused },
  { name: '400 empty', response: { status: 400 }, expected: refused },
  { name: '403 HTML', response: htmlPage(403), expected: deferred },
  { name: '403 JSON', response: { status: 403, body: '{"message":"Forbidden"}' }, expected: refused },
  { name: '404 JSON', response: oauthError(404, 'not_found'), expected: deferred },
  { name: '404 HTML', response: htmlPage(404), expected: deferred },
  {
    name: '429 + Retry-After',
    response: { status: 429, headers: { 'retry-after': '2' } },
    expected: deferred,
  },
  { name: 'HTTP 500', response: htmlPage(500), expected: deferred },
  { name: 'HTTP 503', response: { status: 503 }, expected: deferred },
  { name: '200 HTML', response: htmlPage(200), expected: deferred },
  { name: 'reset before', response: 'reset-before', expected: deferred },
  // The provider made the grant but the tokens are lost: what it does next is its choice, so it is only noted.
  { name: 'reset after', response: 'reset-after', expected: deferred, isGrantLost: true },
  { name: 'hanging', response: 'hang', expected: deferred },
  {
    name: 'second secret',
    env: (provider) => ({
      OAUTH2_CLIENT_SECRET: 'was-before',
      OAUTH2_CLIENT_SECRET_NEXT: provider.clientSecret,
    }),
    expected: served,
  },
];

export const answers = {
  name: 'answers',
  describe: () => `${outcomes.length} outcomes of a refresh, each with a valid and an expired token`,
  promises: Object.fromEntries(
    outcomes.map(({ name, expected }) => [name, `${name}: ${formatResult(expected)}`]),
  ),

  async run({ deploy, check, note }) {
    const deployment = await deploy({
      processes: outcomes.length,
      settings: { lifetimes: { expired: 1, valid: 3600 } },
      // One prefix per process, so that processes do not share what they learn about the provider.
      envFor: (index, { provider }) => ({
        REDIS_PREFIX: `answers-${index}:`,
        ...outcomes[index].env?.(provider),
      }),
    });
    const { provider, instances } = deployment;
    const pairs = await Promise.all(outcomes.map((_, index) => signInPair(deployment, index)));
    await delay(1050);
    await provider.setFaults(
      ...outcomes.flatMap(({ response }, index) =>
        response ? [{ path: 'token', via: instances[index].name, response }] : [],
      ),
    );
    const during = await Promise.all(pairs.map((pair, index) => callDuringFault(pair, instances[index])));
    await provider.configure({ lifetimes: {}, rules: [] });
    const after = await Promise.all(pairs.map((pair, index) => callAfterFault(pair, instances[index])));

    for (const [index, outcome] of outcomes.entries()) {
      const { name } = outcome;
      const result = during[index];
      const later = after[index];
      if (!result) {
        check(name, false, 'sign-in failed');
        continue;
      }
      const missesRetryAfter = result.expired === 503 && !result.hasRetryAfter;
      check(
        name,
        isAsExpected(result, outcome) && hasRecovered(later, outcome),
        `${formatResult(result)}${missesRetryAfter ? ', no Retry-After' : ''}; after the fault: ${later.valid} and ${later.expired}`,
      );
      note(
        `${name}: refresh returned ${result.refresh} after ${result.refreshMs.toFixed(0)} ms, call with expired token took ${result.expiredMs.toFixed(0)} ms`,
      );
    }
  },
};

function isAsExpected(result, { expected }) {
  return (
    result.valid === expected.valid &&
    result.expired === expected.expired &&
    result.validSignedIn === expected.validSignedIn &&
    result.expiredSignedIn === expected.expiredSignedIn &&
    (result.expired !== 503 || result.hasRetryAfter) &&
    result.cookies === 0
  );
}

function hasRecovered(later, { expected, isGrantLost }) {
  return (
    isGrantLost ||
    (later.valid === (expected.validSignedIn ? 200 : 401) &&
      later.expired === (expected.expiredSignedIn ? 200 : 401))
  );
}

function formatResult({ valid, expired, validSignedIn, expiredSignedIn }) {
  const session = (isSignedIn) => (isSignedIn ? 'session continues' : 'session ends');
  return `valid token ${valid}, ${session(validSignedIn)}; expired token ${expired}, ${session(expiredSignedIn)}`;
}

async function signInPair(deployment, index) {
  const pair = {
    valid: deployment.browser(`valid-${index}`),
    expired: deployment.browser(`expired-${index}`),
  };
  try {
    for (const user of Object.values(pair)) await user.signIn(deployment.instances[index]);
    return pair;
  } catch {
    return undefined;
  }
}

async function callDuringFault(pair, instance) {
  if (!pair) return undefined;
  const [expired, refresh] = await Promise.all([
    pair.expired.callApi(instance),
    pair.valid.refresh(instance),
  ]);
  const expiredSignedIn = await pair.expired.isSignedIn(instance);
  const valid = await pair.valid.callApi(instance);
  const validSignedIn = await pair.valid.isSignedIn(instance);
  return {
    valid: valid.status,
    expired: expired.status,
    validSignedIn,
    expiredSignedIn,
    hasRetryAfter: expired.headers['retry-after'] !== undefined,
    cookies: [refresh, valid, expired].filter(({ headers }) => headers['set-cookie']).length,
    refresh: refresh.status,
    refreshMs: refresh.ms,
    expiredMs: expired.ms,
  };
}

/** The first response to each user, after the fault, that is not 503. */
async function callAfterFault(pair, instance) {
  if (!pair) return undefined;
  const finalStatus = async (user) => {
    let last;
    await waitFor(
      async () => {
        last = await user.callApi(instance);
        return last.status !== 503;
      },
      maxRecoveryMs,
      250,
    );
    return last.status;
  };
  const [valid, expired] = await Promise.all([finalStatus(pair.valid), finalStatus(pair.expired)]);
  return { valid, expired };
}
