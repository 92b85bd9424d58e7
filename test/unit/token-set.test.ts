import { normalizeTokenResponse, readTokenResponse } from '../../src/oauth/token-response.ts';
import { hasScope, isExpired, isFresh, refreshWindowMs, type TokenSet } from '../../src/oauth/token-set.ts';

const at = 1_000_000;
const minimal = { access_token: 'at', token_type: 'Bearer' };
const previous: TokenSet = {
  accessToken: 'old',
  tokenType: 'bearer',
  scope: ['a', 'b'],
  issuedAt: 0,
  expiresAt: 5,
  refreshToken: 'old-rt',
  idToken: 'old-id',
};

test.each([
  ['nothing but the token', {}, { scope: ['asked'] }],
  ['a lifetime', { expires_in: 3600 }, { expiresAt: at + 3_600_000, scope: ['asked'] }],
  ['a lifetime of 0, which is not "not said"', { expires_in: 0 }, { expiresAt: at, scope: ['asked'] }],
  ['a scope', { scope: 'x  y ' }, { scope: ['x', 'y'] }],
  ['an empty scope, which is none', { scope: '' }, { scope: [] }],
  [
    'everything',
    { scope: 'x', refresh_token: 'rt', id_token: 'id' },
    { scope: ['x'], refreshToken: 'rt', idToken: 'id' },
  ],
])('a first grant with %s', (_what, response, expected) => {
  expect(readTokenResponse({ ...minimal, ...response }, at, { requestedScope: ['asked'] })).toEqual({
    accessToken: 'at',
    tokenType: 'bearer',
    issuedAt: at,
    ...expected,
  });
});

test.each([
  [
    'nothing but the token keeps the rest (RFC 6749 6)',
    {},
    { scope: ['a', 'b'], refreshToken: 'old-rt', idToken: 'old-id' },
  ],
  [
    'a rotated refresh token',
    { refresh_token: 'rt' },
    { scope: ['a', 'b'], refreshToken: 'rt', idToken: 'old-id' },
  ],
  ['a narrower scope', { scope: 'a' }, { scope: ['a'], refreshToken: 'old-rt', idToken: 'old-id' }],
  ['a new ID token', { id_token: 'id' }, { scope: ['a', 'b'], refreshToken: 'old-rt', idToken: 'id' }],
])('a refresh with %s', (_what, response, expected) => {
  expect(readTokenResponse({ ...minimal, ...response }, at, { previous })).toEqual({
    accessToken: 'at',
    tokenType: 'bearer',
    issuedAt: at, // and no expiresAt: the old token's end is not the new one's
    ...expected,
  });
});

test.each([
  [{ expires_in: '3600' }, { expires_in: 3600 }],
  [{ expires_in: '0' }, { expires_in: 0 }],
  [{ expires_in: 0 }, { expires_in: 0 }],
  [{ expires_in: -5 }, { expires_in: 0 }],
  [{ expires_in: null }, {}],
  [{ expires_in: '' }, {}],
  [{ expires_in: 'never' }, {}],
  [{ refresh_token: null, id_token: '', scope: null }, {}],
  [{ scope: '' }, { scope: '' }],
  [{ scope: ['a', 'b'] }, { scope: 'a b' }],
  [{ error: 'invalid_grant' }, { error: 'invalid_grant' }],
  ['text', 'text'],
  [[1], [1]],
  [null, null],
])('a body with %j is read as %j', (body, expected) => {
  expect(normalizeTokenResponse(body, 'use')).toEqual(expected);
});

test('an ID token nobody asked for, or nobody can check, is not used', () => {
  expect(normalizeTokenResponse({ id_token: 'x', access_token: 'y' }, 'drop')).toEqual({ access_token: 'y' });
  expect(normalizeTokenResponse({ id_token: 'x', access_token: 'y' }, 'use')).toHaveProperty('id_token', 'x');
});

const lasting = (seconds: number): TokenSet => ({
  ...previous,
  issuedAt: at,
  expiresAt: at + seconds * 1000,
});

test.each([
  [3600, 300],
  [1500, 300],
  [300, 60],
  [60, 12],
  [5, 1],
  [0, 0],
])('a token that lives %i s is renewed %i s before its end', (seconds, leeway) => {
  const tokens = lasting(seconds);
  expect(refreshWindowMs(tokens)).toBe(leeway * 1000);
  const renewalAt = at + (seconds - leeway) * 1000;
  if (seconds > 0) expect(isFresh(tokens, renewalAt - 1)).toBe(true);
  expect(isFresh(tokens, renewalAt)).toBe(false);
  expect(isExpired(tokens, at + seconds * 1000 - 1)).toBe(false);
  expect(isExpired(tokens, at + seconds * 1000)).toBe(true);
});

test('a token whose end was not said is fresh until the API says otherwise', () => {
  const { expiresAt: _, ...tokens } = previous;
  expect(isFresh(tokens, Number.MAX_SAFE_INTEGER)).toBe(true);
  expect(isExpired(tokens, Number.MAX_SAFE_INTEGER)).toBe(false);
});

test('a scope counts only whole, and all that are asked for must be there', () => {
  expect(hasScope(previous)).toBe(true);
  expect(hasScope(previous, 'a', 'b')).toBe(true);
  expect(hasScope(previous, 'a', 'c')).toBe(false);
  expect(hasScope({ ...previous, scope: ['read:data:all'] }, 'read:data')).toBe(false);
});
