import { delay, until } from '../harness/waiting.mjs';

const json = { 'content-type': 'application/json' };
const html = { 'content-type': 'text/html' };
const oauthError = (status, error) => ({ status, headers: json, body: JSON.stringify({ error }) });
const page = (status) => ({ status, headers: html, body: '<html><body>Sorry</body></html>' });
const longestRecoveryMs = 40_000;

/** With a valid token, with an expired one: what a call gets, and whether the login stands afterwards. */
const served = { valid: 200, expired: 200, validKept: true, expiredKept: true };
const putOff = { valid: 200, expired: 503, validKept: true, expiredKept: true };
const ended = { valid: 401, expired: 401, validKept: false, expiredKept: false };
const refused = { valid: 200, expired: 401, validKept: true, expiredKept: false };

/** "What a refresh may end in" of ARCHITECTURE.md, each kind once, each on a process of its own. */
const kinds = [
  { name: 'tokens', expected: served },
  { name: 'invalid_grant', answer: oauthError(400, 'invalid_grant'), expected: ended },
  { name: 'invalid_client', answer: oauthError(401, 'invalid_client'), expected: putOff },
  { name: 'unauthorized_client', answer: oauthError(400, 'unauthorized_client'), expected: putOff },
  { name: 'invalid_request', answer: oauthError(400, 'invalid_request'), expected: refused },
  { name: '400 empty', answer: { status: 400 }, expected: refused },
  { name: '403 HTML', answer: page(403), expected: refused },
  { name: '404 HTML', answer: page(404), expected: putOff },
  { name: '429 + Retry-After', answer: { status: 429, headers: { 'retry-after': '2' } }, expected: putOff },
  { name: 'HTTP 500', answer: page(500), expected: putOff },
  { name: 'HTTP 503', answer: { status: 503 }, expected: putOff },
  { name: '200 HTML', answer: page(200), expected: putOff },
  { name: 'reset before', answer: 'reset-before', expected: putOff },
  // The grant happened and nobody has the tokens: what comes later is the provider's, and is noted.
  { name: 'reset after', answer: 'reset-after', expected: putOff, isOutcomeLost: true },
  { name: 'hanging', answer: 'hang', expected: putOff },
  {
    name: 'second secret',
    env: (provider) => ({ OAUTH2_CLIENT_SECRET: `was-before,${provider.clientSecret}` }),
    expected: served,
  },
];

export const answers = {
  name: 'answers',
  done: () => `${kinds.length} kinds of answers to a refresh, with a valid and an expired token`,
  promises: Object.fromEntries(kinds.map(({ name, expected }) => [name, `${name}: ${inWords(expected)}`])),

  async run({ open, check, note }) {
    const world = await open({
      processes: kinds.length,
      settings: { lifetimes: { expired: 1, valid: 3600 } },
      // A database each, so that what one process learns of the provider stays with it.
      envOf: (index, { redis, provider }) => ({
        REDIS_URL: `${redis.url}/${index}`,
        ...kinds[index].env?.(provider),
      }),
    });
    const { provider, instances } = world;
    const people = await Promise.all(kinds.map((_, index) => signInAt(world, index)));
    await delay(1050);
    await provider.befall(
      ...kinds.flatMap(({ answer }, index) =>
        answer ? [{ path: 'token', via: instances[index].name, answer }] : [],
      ),
    );
    const during = await Promise.all(people.map((pair, index) => tryBoth(pair, instances[index])));
    await provider.set({ lifetimes: {}, rules: [] });
    const after = await Promise.all(people.map((pair, index) => recovered(pair, instances[index])));

    for (const [index, { name, expected, isOutcomeLost }] of kinds.entries()) {
      const seen = during[index];
      const later = after[index];
      if (!seen) {
        check(name, false, 'nobody can sign in');
        continue;
      }
      const isAsTold =
        seen.valid === expected.valid &&
        seen.expired === expected.expired &&
        seen.validKept === expected.validKept &&
        seen.expiredKept === expected.expiredKept &&
        (seen.expired !== 503 || seen.hasRetryAfter) &&
        seen.cookies === 0;
      const isBack =
        isOutcomeLost ||
        (later.valid === (expected.validKept ? 200 : 401) &&
          later.expired === (expected.expiredKept ? 200 : 401));
      check(
        name,
        isAsTold && isBack,
        `${inWords(seen)}${seen.expired === 503 && !seen.hasRetryAfter ? ', no Retry-After' : ''}; when it is over: ${later.valid} and ${later.expired}`,
      );
      note(
        `${name}: refresh asked for ${seen.refresh} in ${seen.refreshMs.toFixed(0)} ms, call with expired token ${seen.expiredMs.toFixed(0)} ms`,
      );
    }
  },
};

function inWords({ valid, expired, validKept, expiredKept }) {
  const login = (isKept) => (isKept ? 'login kept' : 'login over');
  return `${valid} and ${login(validKept)}, expired ${expired} and ${login(expiredKept)}`;
}

async function signInAt(world, index) {
  const pair = { valid: world.browser(`valid-${index}`), expired: world.browser(`expired-${index}`) };
  try {
    for (const person of Object.values(pair)) await person.signIn(world.instances[index]);
    return pair;
  } catch {
    return undefined;
  }
}

async function tryBoth(pair, instance) {
  if (!pair) return undefined;
  const [expired, refresh] = await Promise.all([pair.expired.api(instance), pair.valid.refresh(instance)]);
  const expiredKept = await pair.expired.isSignedIn(instance);
  const valid = await pair.valid.api(instance);
  const validKept = await pair.valid.isSignedIn(instance);
  return {
    valid: valid.status,
    expired: expired.status,
    validKept,
    expiredKept,
    hasRetryAfter: expired.headers['retry-after'] !== undefined,
    cookies: [refresh, valid, expired].filter(({ headers }) => headers['set-cookie']).length,
    refresh: refresh.status,
    refreshMs: refresh.ms,
    expiredMs: expired.ms,
  };
}

/** The first answers that are not "later", when the fault is gone. */
async function recovered(pair, instance) {
  if (!pair) return undefined;
  const final = async (person) => {
    let last;
    await until(
      async () => {
        last = await person.api(instance);
        return last.status !== 503;
      },
      longestRecoveryMs,
      250,
    );
    return last.status;
  };
  const [valid, expired] = await Promise.all([final(pair.valid), final(pair.expired)]);
  return { valid, expired };
}
