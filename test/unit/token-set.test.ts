import { normalizeTokenResponse, readTokenResponse } from '../../src/oauth/token-response.ts';
import { hasScope, isExpired, isFresh, refreshWindowMs, type TokenSet } from '../../src/oauth/token-set.ts';

const now = 1_000_000;
const minimal = { access_token: 'at' };
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
  ['only an access token', {}, { scope: ['requested'] }],
  ['a lifetime', { expires_in: 3600 }, { expiresAt: now + 3_600_000, scope: ['requested'] }],
  ['a lifetime of 0, which differs from none', { expires_in: 0 }, { expiresAt: now, scope: ['requested'] }],
  ['a scope', { scope: 'x  y ' }, { scope: ['x', 'y'] }],
  ['an empty scope, which grants nothing', { scope: '' }, { scope: [] }],
  ['every member', { scope: 'x', refresh_token: 'rt' }, { scope: ['x'], refreshToken: 'rt' }],
])('readTokenResponse reads a first response with %s', (_what, response, expected) => {
  expect(readTokenResponse({ ...minimal, ...response }, now, { requestedScope: ['requested'] })).toEqual({
    accessToken: 'at',
    tokenType: 'bearer',
    issuedAt: now,
    ...expected,
  });
});

test.each([
  [
    'only an access token, which keeps the rest (RFC 6749 6)',
    {},
    { scope: ['a', 'b'], refreshToken: 'old-rt', idToken: 'old-id' },
  ],
  [
    'a rotated refresh token',
    { refresh_token: 'rt' },
    { scope: ['a', 'b'], refreshToken: 'rt', idToken: 'old-id' },
  ],
  ['a narrower scope', { scope: 'a' }, { scope: ['a'], refreshToken: 'old-rt', idToken: 'old-id' }],
])('readTokenResponse reads a refresh response with %s', (_what, response, expected) => {
  expect(readTokenResponse({ ...minimal, ...response }, now, { previous })).toEqual({
    accessToken: 'at',
    tokenType: 'bearer',
    issuedAt: now, // and no expiresAt: the old token's expiry does not apply to the new one
    ...expected,
  });
});

test.each([
  [{ expires_in: '3600' }, { expires_in: 3600 }],
  [{ expires_in: '0' }, { expires_in: 0 }],
  [{ expires_in: 0 }, { expires_in: 0 }],
  [{ expires_in: -5 }, {}],
  [{ expires_in: '-1' }, {}],
  [{ expires_in: 1e13 }, {}],
  [{ expires_in: 9e15 }, {}],
  [{ expires_in: '9223372036854775' }, {}],
  [{ expires_in: 2147483647 }, { expires_in: 2147483647 }],
  [{ expires_in: ' ' }, {}],
  [{ expires_in: true }, {}],
  [{ expires_in: null }, {}],
  [{ expires_in: '' }, {}],
  [{ expires_in: 'never' }, {}],
  [{ refresh_token: null, id_token: '', scope: null }, {}],
  [{ scope: '' }, { scope: '' }],
  [{ scope: 5, refresh_token: false }, {}],
  [{ scope: {}, refresh_token: 12345 }, { refresh_token: '12345' }],
  [{ scope: ['a', 'b'] }, { scope: 'a b' }],
  [{ error: 'invalid_grant' }, { error: 'invalid_grant' }],
  ['text', 'text'],
  [[1], [1]],
  [null, null],
])('normalizeTokenResponse turns %j into %j', (body, expected) => {
  expect(normalizeTokenResponse(body)).toEqual(expected);
});

test('normalizeTokenResponse hides from the library what Latchkey checks itself, and drops unknown members', () => {
  const body = { id_token: 'x', token_type: 'DPoP', received_id_token: 'forged', foo: 1 };
  expect(normalizeTokenResponse(body, 5)).toEqual({
    received_date: 5,
    received_id_token: 'x',
    received_token_type: 'DPoP',
    token_type: 'Bearer',
  });
});

const tokensValidFor = (seconds: number): TokenSet => ({
  ...previous,
  issuedAt: now,
  expiresAt: now + seconds * 1000,
});

test.each([
  [3600, 300],
  [1500, 300],
  [300, 60],
  [60, 12],
  [5, 1],
  [0, 0],
])('a token valid for %i s is refreshed %i s before it expires', (seconds, leeway) => {
  const tokens = tokensValidFor(seconds);
  expect(refreshWindowMs(tokens)).toBe(leeway * 1000);
  const refreshAt = now + (seconds - leeway) * 1000;
  if (seconds > 0) expect(isFresh(tokens, refreshAt - 1)).toBe(true);
  expect(isFresh(tokens, refreshAt)).toBe(false);
  expect(isExpired(tokens, now + seconds * 1000 - 1)).toBe(false);
  expect(isExpired(tokens, now + seconds * 1000)).toBe(true);
});

test('a token without a known lifetime is always fresh and never expired', () => {
  const { expiresAt: _, ...tokens } = previous;
  expect(isFresh(tokens, Number.MAX_SAFE_INTEGER)).toBe(true);
  expect(isExpired(tokens, Number.MAX_SAFE_INTEGER)).toBe(false);
});

test('hasScope requires every given scope, and compares whole names', () => {
  expect(hasScope(previous)).toBe(true);
  expect(hasScope(previous, 'a', 'b')).toBe(true);
  expect(hasScope(previous, 'a', 'c')).toBe(false);
  expect(hasScope({ ...previous, scope: ['read:data:all'] }, 'read:data')).toBe(false);
});
