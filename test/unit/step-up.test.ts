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
  ['was not asked for', ['write'], login({ scope: ['read'] }), false],
  ['was asked for and not given', ['write'], login({ scope: ['read', 'write'] }), true],
  ['was asked for in part', ['write', 'admin'], login({ scope: ['read', 'write'] }), false],
  ['is held already', ['read'], login({ scope: ['read'] }), true],
  ['is held, in a record of an older version', ['read'], login(), true],
  ['is not held, in a record of an older version', ['write'], login(), false],
  ['is not named', [], login({ scope: ['read'] }), true],
])('a permission that %s: can signing in help?', (_what, scope, record, alreadyRequested) => {
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
  ['nobody asked for', gold, { scope: [] }, 1, false],
  ['the login has just asked for', gold, { scope: [], acrValues: 'gold' }, 299, true],
  ['the login asked for some time ago', gold, { scope: [], acrValues: 'gold' }, 301, false],
  ['differs from what was asked for', gold, { scope: [], acrValues: 'silver' }, 1, false],
  ['asks for an age, too', { ...gold, maxAge: 60 }, { scope: [], acrValues: 'gold' }, 1, false],
  [
    'asks for an age that was asked for',
    { ...gold, maxAge: 60 },
    { scope: [], acrValues: 'gold', maxAge: 60 },
    59,
    true,
  ],
  [
    'asks for an age that has passed since',
    { ...gold, maxAge: 60 },
    { scope: [], acrValues: 'gold', maxAge: 60 },
    61,
    false,
  ],
  [
    'asks for a lower age than was asked for',
    { ...gold, maxAge: 60 },
    { scope: [], acrValues: 'gold', maxAge: 90 },
    1,
    false,
  ],
  [
    'asks for an age that nobody can have',
    { ...gold, maxAge: 0 },
    { scope: [], acrValues: 'gold', maxAge: 0 },
    29,
    true,
  ],
  ['comes to a record of an older version', gold, undefined, 1, false],
])(
  'a way of signing in that %s: can signing in help?',
  (_what, challenge, requested, seconds, alreadyRequested) => {
    const error = createStepUpError(challenge, login(requested), signedInAt + seconds * 1000);
    expect(error).toMatchObject({
      code: 'insufficient_user_authentication',
      status: 401,
      acrValues: 'gold',
      alreadyRequested,
    });
  },
);

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
])(
  'an API that answers %i with %s asks for a login, or it does not',
  async (statusCode, header, expected) => {
    expect(await readStepUp({ statusCode, headers: { 'www-authenticate': header } })).toEqual(expected);
  },
);

describe('the id of a session', () => {
  const [older, newer] = [
    new Secret('an-older-secret-of-these-tests-01'),
    new Secret('a-newer-secret-of-these-tests-012'),
  ];
  const ids = createSessionIds([older]);

  test('tells whose it was, and of nobody else', () => {
    const id = ids.create('alice');
    expect(id).toMatch(/^[\w-]{65}$/);
    expect([ids.hasOwner(id), ids.isOwner(id, 'alice'), ids.isOwner(id, 'bob')]).toEqual([true, true, false]);
    expect(ids.isOwner(id, undefined)).toBe(false);
    expect(ids.isOwner(`${id.slice(0, -1)}${id.endsWith('A') ? 'Q' : 'A'}`, 'alice')).toBe(false);
  });

  test('of a person nobody knows tells nothing', () => {
    const id = ids.create(undefined);
    expect(id).toMatch(/^[\w-]{43}$/);
    expect([ids.hasOwner(id), ids.isOwner(id, 'alice'), ids.isOwner(id, '')]).toEqual([false, false, false]);
  });

  test('shares nothing with another of the same person', () => {
    const [one, two] = [ids.create('alice'), ids.create('alice')];
    expect(one.slice(0, 43)).not.toBe(two.slice(0, 43));
    expect(one.slice(43)).not.toBe(two.slice(43));
    expect(ids.isOwner(one.slice(0, 43) + two.slice(43), 'alice')).toBe(false);
  });

  test('is recognised as long as its secret is known', () => {
    const id = ids.create('alice');
    expect(createSessionIds([newer, older]).isOwner(id, 'alice')).toBe(true);
    expect(createSessionIds([newer]).isOwner(id, 'alice')).toBe(false);
  });
});

test.each([
  ['all of them', requireScope('read', 'write'), ['read', 'write', 'more'], 'goes on'],
  ['all of them, and one is missing', requireScope('read', 'write'), ['read'], 'insufficient_scope'],
  ['any of them, and the second is there', requireAnyScope('read', 'write'), ['write'], 'goes on'],
  ['any of them, and none is there', requireAnyScope('read', 'write'), ['more'], 'insufficient_scope'],
])('a route that needs %s', (_what, guard, scope, expected) => {
  const granted = { ...login(), tokens: { ...login().tokens, scope } };
  let outcome: unknown;
  try {
    guard({ login: granted } as never, {} as never, () => {
      outcome = 'goes on';
    });
  } catch (error) {
    outcome = (error as AppError).code;
    expect(error).toMatchObject({ scope: ['read', 'write'], alreadyRequested: false });
  }
  expect(outcome).toBe(expected);
});
