import { randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { jest } from '@jest/globals';
import { Browser } from '../support/browser.ts';
import { type FakeProvider, startFakeProvider } from '../support/fake-provider.ts';
import { type Latchkey, startLatchkey } from '../support/latchkey.ts';
import {
  createOpenidProvider,
  createSigningKey,
  type OpenidProviderOptions,
  signJwt,
  signWithPublicKey,
} from '../support/openid-provider.ts';
import { sendRaw } from './support/raw-http.ts';

const path = '/auth/backchannel-logout';
const event = 'http://schemas.openid.net/event/backchannel-logout';

let options: OpenidProviderOptions;
let provider: FakeProvider;
let latchkey: Latchkey;
let browser: Browser;
let offsetMs = 0;
let elapsedMs = 0;

async function start(env: Readonly<Record<string, string | undefined>> = {}): Promise<void> {
  const openid = createOpenidProvider();
  options = openid.options;
  options.issue = ({ header, claims }) => signJwt(header, { ...claims, sid: 'a-session' }, options.keys[0]!);
  provider = await startFakeProvider(openid.shape);
  latchkey = await startLatchkey({
    ...{ issuer: provider.url, apiUrl: provider.url, ...provider.client },
    env: { OAUTH2_SCOPES: 'openid profile read:data', ...env },
    deps: { now: () => Date.now() + offsetMs, elapsed: () => performance.now() + offsetMs + elapsedMs },
  });
  browser = new Browser(latchkey.origin);
  expect((await browser.go('/auth/login')).url).toBe(`${latchkey.origin}/profile`);
}
beforeEach(() => {
  offsetMs = 0;
  elapsedMs = 0;
});
afterEach(async () => {
  await latchkey.close();
  await provider.close();
});

const seconds = () => Math.floor((Date.now() + offsetMs) / 1000);
const log = () => latchkey.logLines.join('');
const isSignedIn = async () =>
  ((await browser.fetch('/auth/session')).json() as { authenticated: boolean }).authenticated;
const keyRequests = () => provider.faults.count(/^\/keys$/);
const stranger = createSigningKey('first');

type Claims = Record<string, unknown>;

const header = () => ({ alg: 'RS256', kid: 'first', typ: 'logout+jwt' });
const claims = (): Claims => ({
  ...{ iss: provider.url, aud: provider.client.clientId, sub: 'alice', sid: 'a-session' },
  ...{ iat: seconds(), exp: seconds() + 120, jti: randomUUID(), events: { [event]: {} } },
});
/** A logout token of the provider with these claims and headers; `undefined` removes one. */
const withClaims = (changed: Claims = {}, changedHeader: Claims = {}) =>
  signJwt({ ...header(), ...changedHeader }, { ...claims(), ...changed }, options.keys[0]!);

interface Sent {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

async function post(
  body: string | URLSearchParams | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = {},
): Promise<Sent> {
  const response = await fetch(latchkey.origin + path, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    body,
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

const send = (token: string, headers?: Record<string, string>) =>
  post(new URLSearchParams({ logout_token: token }), headers);

const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url');

/** What is wrong with the token, how it is made, and what the log says about it. */
const forgeries: readonly [what: string, create: () => string, evidence: RegExp][] = [
  ['another iss', () => withClaims({ iss: 'https://evil.example' }), /claim iss.*evil/],
  ['no iss', () => withClaims({ iss: undefined }), /claim iss/],
  ['an iss with a slash at the end', () => withClaims({ iss: `${provider.url}/` }), /claim iss/],
  ['another aud', () => withClaims({ aud: 'another-client' }), /claim aud.*another-client/],
  ['a list of other audiences', () => withClaims({ aud: ['a', 'b'] }), /claim aud/],
  ['no aud', () => withClaims({ aud: undefined }), /claim aud/],
  ['no iat', () => withClaims({ iat: undefined }), /claim iat/],
  ['an iat that is a text', () => withClaims({ iat: String(seconds()) }), /claim iat/],
  ['an iat in the future', () => withClaims({ iat: seconds() + 3600 }), /claim iat.*clocks/],
  [
    'an iat of yesterday and an exp of tomorrow',
    () => withClaims({ iat: seconds() - 86_400, exp: seconds() + 86_400 }),
    /it has expired: iat/,
  ],
  ['no exp', () => withClaims({ exp: undefined }), /claim exp.*logout-exp-missing/],
  ['an exp in the past', () => withClaims({ exp: seconds() - 120 }), /it has expired/],
  ['an exp that is a text', () => withClaims({ exp: '9999999999' }), /claim exp/],
  ['an nbf in the future', () => withClaims({ nbf: seconds() + 600 }), /nbf/],
  ['no jti', () => withClaims({ jti: undefined }), /claim jti/],
  ['a jti that is a number', () => withClaims({ jti: 7 }), /claim jti/],
  ['a jti of 256 characters', () => withClaims({ jti: 'a'.repeat(256) }), /claim jti/],
  ['no events', () => withClaims({ events: undefined }), /claim events/],
  ['another event', () => withClaims({ events: { 'https://evil.example/event': {} } }), /claim events/],
  ['an event that is a text', () => withClaims({ events: { [event]: 'yes' } }), /claim events/],
  ['a list of events', () => withClaims({ events: [event] }), /claim events/],
  ['a nonce', () => withClaims({ nonce: 'of a login' }), /it has a nonce/],
  ['a nonce that is null', () => withClaims({ nonce: null }), /it has a nonce/],
  ['neither sub nor sid', () => withClaims({ sub: undefined, sid: undefined }), /neither sid nor sub/],
  ['an empty sid', () => withClaims({ sid: '' }), /claim sid/],
  ['a sid that is an object', () => withClaims({ sid: { $ne: '' } }), /claim sid/],
  ['a sub of 256 characters', () => withClaims({ sub: 'a'.repeat(256) }), /claim sub/],
  ['the type of an access token', () => withClaims({}, { typ: 'at+jwt' }), /header typ/],
  ['the type of a security event', () => withClaims({}, { typ: 'secevent+jwt' }), /header typ/],
  ['a type that is not a text', () => withClaims({}, { typ: 7 }), /header typ|not a JWT|ERR_J/],
  ['the signature of a stranger', () => signJwt(header(), claims(), stranger), /SIGNATURE/],
  [
    'a key that is embedded in the token',
    () => signJwt({ ...header(), jwk: stranger.publicKey.export({ format: 'jwk' }) }, claims(), stranger),
    /SIGNATURE/,
  ],
  [
    'a key at an address in the token',
    () => signJwt({ ...header(), jku: 'https://evil.example/keys' }, claims(), stranger),
    /SIGNATURE/,
  ],
  ['an unknown kid', () => signJwt({ ...header(), kid: 'x' }, claims(), stranger), /NO_MATCHING_KEY/],
  ['alg none', () => `${encode({ alg: 'none' })}.${encode(claims())}.`, /header alg/],
  ['the public key as a shared key', () => signWithPublicKey(header(), claims(), options.keys[0]!), /alg/],
  [
    'a payload that was changed',
    () => {
      const [head, , signature] = withClaims().split('.');
      return `${head}.${encode({ ...claims(), sub: 'bob' })}.${signature}`;
    },
    /SIGNATURE/,
  ],
  ['a critical header', () => withClaims({}, { crit: ['x'], x: 1 }), /NOT_SUPPORTED/],
  ['two parts', () => withClaims().split('.').slice(0, 2).join('.'), /ERR_J|not a JWT/],
  ['five parts', () => 'a.b.c.d.e', /ERR_J|not a JWT/],
  ['a payload that is a list', () => signJwt(header(), [claims()], options.keys[0]!), /ERR_J/],
  ['a header that is null', () => `${encode(null)}.${encode(claims())}.AA`, /ERR_J|not a JWT/],
  ['no characters', () => '', /ERR_J|not a JWT/],
];

test('hostile logout tokens are refused, each with its reason in the log, and the session continues', async () => {
  await start();
  const outcomes: unknown[] = [];
  for (const [what, create, evidence] of forgeries) {
    const before = latchkey.logLines.length;
    const { status, headers, text } = await send(create());
    const isExplained = evidence.test(latchkey.logLines.slice(before).join(''));
    outcomes.push([what, status, JSON.parse(text).error, headers.get('cache-control'), isExplained]);
  }
  expect(outcomes).toEqual(forgeries.map(([what]) => [what, 400, 'invalid_request', 'no-store', true]));
  expect(forgeries.length).toBeGreaterThanOrEqual(25);
  expect(await isSignedIn()).toBe(true);
  // The session was not merely untouchable.
  const valid = withClaims();
  expect((await send(valid)).status).toBe(200);
  expect(await isSignedIn()).toBe(false);
  const { jti } = JSON.parse(String(Buffer.from(valid.split('.')[1]!, 'base64url')));
  for (const secret of [...valid.split('.'), jti]) expect(log()).not.toContain(secret);
});

test('the ID token of the login is no logout token', async () => {
  let idToken = '';
  await start();
  options.issue = (parts) => {
    idToken = signJwt(parts.header, { ...parts.claims, sid: 'a-session' }, options.keys[0]!);
    return idToken;
  };
  await browser.go('/auth/login?prompt=login');
  expect((await send(idToken)).status).toBe(400);
  expect(await isSignedIn()).toBe(true);
});

test.each([
  ['sid and sub', {}],
  ['only sid', { sub: undefined }],
  ['only sub', { sid: undefined }],
  ['several audiences', { aud: ['another', 'and'] }],
  ['an iat that is a little in the future', { iat: 20 }],
])('a logout token with %s ends the session', async (_what, changed: Claims) => {
  await start();
  const { aud, iat } = changed;
  const token = withClaims({
    ...changed,
    ...(Array.isArray(aud) && { aud: [...aud, provider.client.clientId] }),
    ...(typeof iat === 'number' && { iat: seconds() + iat }),
  });
  const response = await send(token);
  expect([response.status, response.text, response.headers.get('cache-control')]).toEqual([
    200,
    '',
    'no-store',
  ]);
  expect(await isSignedIn()).toBe(false);
});

test.each([undefined, 'JWT', 'jwt', 'logout+jwt', 'application/logout+jwt'])(
  'a logout token of the type %s is accepted, because many providers give it none of its own',
  async (typ) => {
    await start();
    expect((await send(withClaims({}, { typ }))).status).toBe(200);
    expect(await isSignedIn()).toBe(false);
  },
);

test('a logout token with a sid ends a session whose ID token had none, if it is a session of its user', async () => {
  await start();
  options.issue = ({ header, claims }) => signJwt(header, claims, options.keys[0]!);
  await browser.go('/auth/login?prompt=login');
  expect((await send(withClaims({ sid: 'another', sub: undefined }))).status).toBe(200);
  expect((await send(withClaims({ sid: 'another', sub: 'bob' }))).status).toBe(200);
  expect(await isSignedIn()).toBe(true);
  expect((await send(withClaims({ sid: 'another' }))).status).toBe(200);
  expect(await isSignedIn()).toBe(false);
});

test('a token about somebody else, or another session, ends nothing and is answered with 200', async () => {
  await start();
  expect((await send(withClaims({ sub: 'bob', sid: undefined }))).status).toBe(200);
  expect((await send(withClaims({ sid: 'another' }))).status).toBe(200);
  expect(await isSignedIn()).toBe(true);
});

test('a logout token that is captured and sent again is refused, and does not end the next session', async () => {
  await start();
  const token = withClaims({ sid: undefined });
  expect((await send(token)).status).toBe(200);
  await browser.go('/auth/login');
  expect((await send(token)).status).toBe(400);
  expect(log()).toContain('this logout token has been received before');
  // Neither does it when its jti is forgotten, because it has expired by then.
  offsetMs = 151_000;
  expect((await send(token)).status).toBe(400);
  expect(await isSignedIn()).toBe(true);
});

test('OAUTH2_BACKCHANNEL_LOGOUT_SESSION_REQUIRED refuses tokens that do not name one session', async () => {
  await start({ OAUTH2_BACKCHANNEL_LOGOUT_SESSION_REQUIRED: 'true' });
  expect((await send(withClaims({ sid: undefined }))).status).toBe(400);
  expect(log()).toContain('claim sid is missing');
  expect(await isSignedIn()).toBe(true);
  expect((await send(withClaims())).status).toBe(200);
});

test('the deviation logout-exp-missing accepts tokens without exp for ten minutes', async () => {
  await start({ OAUTH2_DEVIATIONS: 'logout-exp-missing' });
  expect((await send(withClaims({ exp: undefined, iat: seconds() - 631 }))).status).toBe(400);
  expect((await send(withClaims({ exp: seconds() - 60 }))).status).toBe(400);
  expect(await isSignedIn()).toBe(true);
  const token = withClaims({ exp: undefined, iat: seconds() - 590 });
  expect([(await send(token)).status, (await send(token)).status]).toEqual([200, 400]);
  expect(await isSignedIn()).toBe(false);
});

test('without ID tokens, logout tokens are not accepted', async () => {
  await start({ OAUTH2_SCOPES: 'read:data' });
  expect((await send(withClaims())).status).toBe(404);
  expect(await isSignedIn()).toBe(true);
});

describe('a request', () => {
  test.each([
    ['without a token', () => post('')],
    ['with two tokens', () => post(`logout_token=${withClaims()}&logout_token=${withClaims()}`)],
    ['with the token as JSON', () => post('{}', { 'content-type': 'application/json' })],
    ['of another content type', () => post(new URLSearchParams({}), { 'content-type': 'text/plain' })],
    [
      'with the token in the query',
      async () => {
        const { status } = await fetch(`${latchkey.origin}${path}?logout_token=${withClaims()}`, {
          method: 'POST',
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
        });
        return { status };
      },
    ],
    [
      'with a compressed body',
      () => post(gzipSync(`logout_token=${withClaims()}`), { 'content-encoding': 'gzip' }),
    ],
  ])('%s is refused with 400', async (_what, request) => {
    await start();
    expect((await request()).status).toBe(400);
    expect(await isSignedIn()).toBe(true);
  });

  test('with a body of more than 16 KiB is refused before it is read', async () => {
    await start();
    const { statuses } = await sendRaw(latchkey.origin, [
      `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n`,
      'Content-Length: 100000000\r\nConnection: close\r\n\r\nlogout_token=',
    ]);
    expect(statuses).toEqual([413]);
    const manyParameters = Array.from({ length: 1000 }, (_, index) => `p${index}=`).join('&');
    expect((await post(manyParameters)).status).toBe(413);
  });

  test('with another method gets 405, and no logout token in a URL has an effect', async () => {
    await start();
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE']) {
      const response = await fetch(`${latchkey.origin}${path}?logout_token=${withClaims()}`, { method });
      expect([method, response.status, response.headers.get('allow')]).toEqual([method, 405, 'POST']);
    }
    expect(await isSignedIn()).toBe(true);
  });

  test('that looks like one from another site, or has cookies, is accepted: only the signature counts', async () => {
    await start();
    const response = await send(withClaims(), {
      ...{ origin: 'https://provider.example', 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' },
      cookie: 'latchkey=s%3Ainvented.signature',
    });
    expect(response.status).toBe(200);
    expect(response.headers.get('set-cookie')).toBeNull();
    expect(await isSignedIn()).toBe(false);
  });
});

test('AUTH_RATE_LIMIT does not apply to logouts, all of which come from the address of the provider', async () => {
  await start({ AUTH_RATE_LIMIT: '5' });
  const statuses = await Promise.all(
    Array.from({ length: 500 }, (_, index) => send(withClaims({ sid: `session ${index}` }))),
  );
  expect(new Set(statuses.map(({ status }) => status))).toEqual(new Set([200]));
});

describe('strangers', () => {
  test('cause no request for keys with tokens that are not for this client, and one a minute with unknown keys', async () => {
    await start();
    offsetMs = 61_000; // the keys were fetched by the login
    const before = keyRequests();
    for (const changed of [{ aud: 'x' }, { iss: 'x' }, { exp: 1 }, { nonce: 'x' }, { events: {} }])
      await send(signJwt({ ...header(), kid: randomUUID() }, { ...claims(), ...changed }, stranger));
    expect(keyRequests()).toBe(before);
    const unknown = () => signJwt({ ...header(), kid: randomUUID() }, claims(), stranger);
    const sent = await Promise.all(Array.from({ length: 50 }, () => send(unknown())));
    expect(new Set(sent.map(({ status }) => status))).toEqual(new Set([400]));
    for (let count = 0; count < 20; count += 1) await send(signJwt(header(), claims(), stranger));
    expect(keyRequests()).toBe(before + 1);
    offsetMs += 61_000;
    await send(unknown());
    await send(unknown());
    expect(keyRequests()).toBe(before + 2);
  });

  test('who send tokens with unknown keys do not delay the logins after the provider has changed its key', async () => {
    await start();
    const unknown = () => send(signJwt({ ...header(), kid: randomUUID() }, claims(), stranger));
    for (let count = 0; count < 10; count += 1) await unknown();
    options.keys = [createSigningKey('second')];
    expect((await browser.go('/auth/login?prompt=login')).url).toBe(`${latchkey.origin}/profile`);
    await unknown();
    options.keys = [createSigningKey('third')];
    expect((await browser.go('/auth/login?prompt=login')).url).toBe(`${latchkey.origin}/profile`);
  });
});

describe('the keys of the provider', () => {
  test('a logout token that is signed with a new key is accepted', async () => {
    await start();
    offsetMs = 61_000;
    options.keys = [createSigningKey('second')];
    expect((await send(withClaims({}, { kid: 'second' }))).status).toBe(200);
    expect(await isSignedIn()).toBe(false);
  });

  test('a logout is not lost while the provider publishes no keys: those of the last day are used', async () => {
    await start();
    provider.faults.set({ path: /^\/(keys|\.well-known)/, response: 'reset' });
    const realNow = Date.now;
    const clock = jest.spyOn(Date, 'now'); // the library measures the age of the keys with it
    try {
      clock.mockImplementation(() => realNow() + 3_600_000);
      expect((await send(withClaims())).status).toBe(200);
      expect(await isSignedIn()).toBe(false);
      clock.mockImplementation(() => realNow() + 90_000_000);
      elapsedMs = 90_000_000;
      expect((await send(withClaims())).status).toBe(503);
    } finally {
      clock.mockRestore();
    }
    expect(provider.faults.count(/^\/keys$/)).toBeGreaterThan(1);
  });

  test('a logout token whose key is unknown and cannot be fetched is answered with 503, so that it can be repeated', async () => {
    await start();
    provider.faults.set({ path: /^\/keys$/, response: 'reset' });
    offsetMs = 61_000;
    options.keys = [createSigningKey('second')];
    const token = withClaims({}, { kid: 'second' });
    const response = await send(token);
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5']);
    expect(await isSignedIn()).toBe(true);
    provider.faults.set(undefined);
    offsetMs += 5_000;
    expect((await send(token)).status).toBe(200);
    expect(await isSignedIn()).toBe(false);
  });
});
