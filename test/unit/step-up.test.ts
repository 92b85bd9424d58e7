import { Secret } from '../../src/crypto/secret.ts';
import type { AppError } from '../../src/errors.ts';
import { createStepUpError, readStepUp } from '../../src/proxy/step-up.ts';
import { insufficientScope, requireAnyScope, requireScope } from '../../src/session/require-scope.ts';
import { createSessionIds } from '../../src/session/session-id.ts';
import type { TokenRecord } from '../../src/tokens/token-store.ts';

const signedInAt = 1_000_000_000;
const login = (requested?: TokenRecord['requested']): TokenRecord => ({
  tokens: { accessToken: 'at', tokenType: 'bearer', scope: ['read'], issuedAt: 0 },
  user: { sub: 'alice' },
  signedInAt,
  ...(requested && { requested }),
});

test.each<[string, string[], TokenRecord, boolean]>([
  ['that was not requested can be requested now', ['write'], login({ scope: ['read'] }), false],
  [
    'that was requested and not granted is not requested again',
    ['write'],
    login({ scope: ['read', 'write'] }),
    true,
  ],
  [
    'that was requested only in part can be requested now',
    ['write', 'admin'],
    login({ scope: ['read', 'write'] }),
    false,
  ],
  ['that is granted already is not requested again', ['read'], login({ scope: ['read'] }), true],
  [
    'that is granted already is not requested again, for a record of an older version',
    ['read'],
    login(),
    true,
  ],
  ['that is not granted can be requested now, for a record of an older version', ['write'], login(), false],
  ['list that is empty is not requested again', [], login({ scope: ['read'] }), true],
])('a required scope %s', (_what, scope, record, alreadyRequested) => {
  expect(insufficientScope(scope, record)).toMatchObject({
    code: 'insufficient_scope',
    status: 403,
    alreadyRequested,
  });
  const error = createStepUpError({ error: 'insufficient_scope', scope }, record, signedInAt);
  expect(error).toMatchObject({ code: 'insufficient_scope', status: 403, alreadyRequested });
});

const gold = { error: 'insufficient_user_authentication', scope: [], acrValues: 'gold' } as const;

test.each<[string, Parameters<typeof createStepUpError>[0], TokenRecord['requested'], number, boolean]>([
  ['that was never requested can be requested now', gold, { scope: [] }, 1, false],
  [
    'that the login requested 299 s ago is not requested again',
    gold,
    { scope: [], acrValues: 'gold' },
    299,
    true,
  ],
  [
    'that the login requested 301 s ago can be requested now',
    gold,
    { scope: [], acrValues: 'gold' },
    301,
    false,
  ],
  [
    'that differs from the requested value can be requested now',
    gold,
    { scope: [], acrValues: 'silver' },
    1,
    false,
  ],
  [
    'with a max_age that was not requested can be requested now',
    { ...gold, maxAge: 60 },
    { scope: [], acrValues: 'gold' },
    1,
    false,
  ],
  [
    'with a requested max_age is not requested again before that age',
    { ...gold, maxAge: 60 },
    { scope: [], acrValues: 'gold', maxAge: 60 },
    59,
    true,
  ],
  [
    'with a requested max_age can be requested again after that age',
    { ...gold, maxAge: 60 },
    { scope: [], acrValues: 'gold', maxAge: 60 },
    61,
    false,
  ],
  [
    'with a lower max_age than requested can be requested now',
    { ...gold, maxAge: 60 },
    { scope: [], acrValues: 'gold', maxAge: 90 },
    1,
    false,
  ],
  [
    'with max_age=0 is not requested again after 29 s',
    { ...gold, maxAge: 0 },
    { scope: [], acrValues: 'gold', maxAge: 0 },
    29,
    true,
  ],
  ['can be requested now for a record of an older version', gold, undefined, 1, false],
])('a required acr value %s', (_what, challenge, requested, seconds, alreadyRequested) => {
  const error = createStepUpError(challenge, login(requested), signedInAt + seconds * 1000);
  expect(error).toMatchObject({
    code: 'insufficient_user_authentication',
    status: 401,
    acrValues: 'gold',
    alreadyRequested,
  });
});

test.each([
  [
    401,
    'Bearer error="insufficient_scope", scope="write"',
    { error: 'insufficient_scope', scope: ['write'] },
  ],
  [403, 'Bearer error="insufficient_scope"', { error: 'insufficient_scope', scope: [] }],
  [401, 'Bearer error="insufficient_user_authentication", acr_values="gold"', gold],
  [401, 'Bearer error="invalid_token"', undefined],
  [403, 'Bearer error="out_of_milk"', undefined],
  [403, undefined, undefined],
  [200, 'Bearer error="insufficient_scope"', undefined],
  [500, 'Bearer error="insufficient_scope"', undefined],
])('an API response %i with WWW-Authenticate %s is read as %j', async (statusCode, header, expected) => {
  expect(await readStepUp({ statusCode, headers: { 'www-authenticate': header } })).toEqual(expected);
});

describe('a session id', () => {
  const [older, newer] = [
    new Secret('an-older-secret-for-these-tests-1'),
    new Secret('a-newer-secret-for-these-tests-12'),
  ];
  const registration = 'registration-one';
  const now = () => 1_900_000_000_999;
  const ids = createSessionIds({ secrets: [older], registration }, now);

  test('has an owner tag that matches only its user', () => {
    const id = ids.create('alice');
    expect(id).toMatch(/^[\w-]{60}$/);
    expect([ids.isOwner(id, 'alice'), ids.isOwner(id, 'bob')]).toEqual([true, false]);
    expect(ids.isOwner(id, undefined)).toBe(false);
    expect(ids.isOwner(`${id.slice(0, -1)}${id.endsWith('A') ? 'Q' : 'A'}`, 'alice')).toBe(false);
  });

  test('has no owner tag when the user has no sub', () => {
    const id = ids.create(undefined);
    expect(id).toMatch(/^[\w-]{22}$/);
    expect([ids.readOwner(id), ids.isOwner(id, 'alice'), ids.isOwner(id, '')]).toEqual([
      undefined,
      false,
      false,
    ]);
  });

  test('shares no part with another session id of the same user', () => {
    const [one, two] = [ids.create('alice'), ids.create('alice')];
    expect(one.slice(0, 22)).not.toBe(two.slice(0, 22));
    expect(one.slice(22)).not.toBe(two.slice(22));
    expect(ids.isOwner(one.slice(0, 22) + two.slice(22), 'alice')).toBe(false);
  });

  test('says when the session began, and which sessions have the same user', () => {
    const [one, two, other] = [ids.create('alice'), ids.create('alice'), ids.create('bob')].map(
      ids.readOwner,
    );
    expect(one!.startedAt).toBe(1_900_000_000_000);
    expect(one).toEqual(two);
    expect(one!.userTag).not.toBe(other!.userTag);
    const id = ids.create('alice');
    const withOtherTime = `${id.slice(0, 38)}${id[38] === 'A' ? 'B' : 'A'}${id.slice(39)}`;
    expect(ids.readOwner(withOtherTime)).toBeUndefined();
  });

  test('is recognised as long as its secret is configured', () => {
    const id = ids.create('alice');
    expect(createSessionIds({ secrets: [newer, older], registration }, now).isOwner(id, 'alice')).toBe(true);
    expect(createSessionIds({ secrets: [newer], registration }, now).isOwner(id, 'alice')).toBe(false);
  });

  test('belongs to no user of another provider or client, whose `sub` may be the same', () => {
    const others = createSessionIds({ secrets: [older], registration: 'registration-two' }, now);
    expect(others.isOwner(ids.create('alice'), 'alice')).toBe(false);
  });
});

test.each([
  [
    'that requires every scope lets a token with all of them pass',
    requireScope('read', 'write'),
    ['read', 'write', 'more'],
    'passes',
  ],
  [
    'that requires every scope rejects a token without one of them',
    requireScope('read', 'write'),
    ['read'],
    'insufficient_scope',
  ],
  [
    'that requires any scope lets a token with one of them pass',
    requireAnyScope('read', 'write'),
    ['write'],
    'passes',
  ],
  [
    'that requires any scope rejects a token with none of them',
    requireAnyScope('read', 'write'),
    ['more'],
    'insufficient_scope',
  ],
])('a route guard %s', (_what, guard, scope, expected) => {
  const granted = { ...login(), tokens: { ...login().tokens, scope } };
  let outcome: unknown;
  try {
    guard({ login: granted } as never, {} as never, () => {
      outcome = 'passes';
    });
  } catch (error) {
    outcome = (error as AppError).code;
    expect(error).toMatchObject({ scope: ['read', 'write'], alreadyRequested: false });
  }
  expect(outcome).toBe(expected);
});
