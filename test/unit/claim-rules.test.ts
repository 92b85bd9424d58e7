import { createAlternatives, createClaimCheck } from '../../src/claims/claim-check.ts';
import { claimRule } from '../../src/claims/conditions.ts';
import { createIdentityHeaders, encodeClaim } from '../../src/claims/identity-headers.ts';
import { readClaim, selectClaims } from '../../src/claims/read-claim.ts';
import { limitClaims, mergeClaims } from '../../src/claims/stored-claims.ts';
import { loginAllowed } from '../../src/config/access/login-allowed.ts';

const strict = { isEmailVerifiedOptional: false };
const isAllowed = (rule: object, claims: object, options = strict) =>
  createClaimCheck(claimRule.parse(rule), options)(claims as Record<string, unknown>) === undefined;

const staff = { groups: { anyOf: ['staff'] } };
const domain = { email: { endsWith: '@example.com' } };
const verified = { email_verified: true };

test.each([
  ['a string that is one of these', staff, { groups: 'staff' }, true],
  ['an array with one of these', staff, { groups: ['sales', 'staff'] }, true],
  ['an array without', staff, { groups: ['sales'] }, false],
  ['an empty array', staff, { groups: [] }, false],
  ['a missing claim', staff, {}, false],
  ['null', staff, { groups: null }, false],
  ['a string with several words', staff, { groups: 'staff admin' }, false],
  ['a string with commas', staff, { groups: 'sales,staff' }, false],
  ['another case', staff, { groups: ['Staff'] }, false],
  ['a nested array', staff, { groups: [['staff']] }, false],
  ['an object with such a member', staff, { groups: { staff: true } }, false],
  ['all of these', { groups: { allOf: ['a', 'b'] } }, { groups: ['b', 'a', 'c'] }, true],
  ['not all of these', { groups: { allOf: ['a', 'b'] } }, { groups: ['a'] }, false],
  ['a number', { level: { equals: 3 } }, { level: 3 }, true],
  ['a number as a string', { level: { equals: 3 } }, { level: '3' }, false],
  ['true', { admin: { equals: true } }, { admin: true }, true],
  ['"true" for true', { admin: { equals: true } }, { admin: 'true' }, false],
  ['1 for true', { admin: { equals: true } }, { admin: 1 }, false],
  ['an array for equals', { role: { equals: 'a' } }, { role: ['a'] }, false],
  ['a nested claim', { 'realm_access.roles': { anyOf: ['x'] } }, { realm_access: { roles: ['x'] } }, true],
  [
    'a claim with dots in its name',
    { 'https://a.b/roles': { anyOf: ['x'] } },
    { 'https://a.b/roles': ['x'] },
    true,
  ],
  [
    'dots in a nested name',
    { 'r.my.app.roles': { anyOf: ['x'] } },
    { r: { 'my.app': { roles: ['x'] } } },
    true,
  ],
  ['a member of an array', { 'groups.0': { equals: 'staff' } }, { groups: ['staff'] }, false],
  ['the length of an array', { 'groups.length': { equals: 1 } }, { groups: ['x'] }, false],
  ['an inherited member', { toString: { exists: true } }, {}, false],
  ['a value', { plan: { exists: true } }, { plan: false }, true],
  ['an empty string', { plan: { exists: true } }, { plan: '' }, false],
  ['two conditions, of which one fails', { g: { anyOf: ['a'], allOf: ['b'] } }, { g: ['a'] }, false],
  ['two claims, of which one fails', { ...staff, level: { equals: 1 } }, { groups: 'staff' }, false],
  ['an ending', { upn: { endsWith: ['@a.com', '@b.com'] } }, { upn: 'x@b.com' }, true],
  ['an ending of an array', { upn: { endsWith: '@a.com' } }, { upn: ['x@a.com'] }, false],
  ['a verified address', domain, { email: 'a@example.com', ...verified }, true],
  ['the domain in another case', domain, { email: 'A@Example.COM', email_verified: 'true' }, true],
  ['an address that is not verified', domain, { email: 'a@example.com', email_verified: false }, false],
  ['"false"', domain, { email: 'a@example.com', email_verified: 'false' }, false],
  ['an address about which nothing is said', domain, { email: 'a@example.com' }, false],
  ['a longer domain', domain, { email: 'a@evil-example.com', ...verified }, false],
  ['two @', domain, { email: 'a@evil.com@example.com', ...verified }, false],
  ['only the domain', domain, { email: '@example.com', ...verified }, false],
  ['a line break', domain, { email: 'a@evil.com\n@example.com', ...verified }, false],
  ['a list of addresses', domain, { email: ['a@example.com'], ...verified }, false],
  [
    'a letter that only looks like k',
    { email: { endsWith: '@k.com' } },
    { email: 'a@\u212A.com', ...verified },
    false,
  ],
])('%s', (_what, rule, claims, expected) => {
  expect(isAllowed(rule, claims)).toBe(expected);
});

test('with the deviation email-verified-missing, only an address that is said not to be verified is refused', () => {
  const options = { isEmailVerifiedOptional: true };
  expect(isAllowed(domain, { email: 'a@example.com' }, options)).toBe(true);
  expect(isAllowed(domain, { email: 'a@example.com', email_verified: false }, options)).toBe(false);
});

test.each([
  [{ email: { endsWith: 'example.com' } }, /evil-example.com/],
  [{ email: { endsWith: '-example.com' } }, /@ or with a dot/],
  [{ groups: {} }, /must have a condition/],
  [{ groups: { anyOf: [] } }, />=1/],
  [{ groups: { noneOf: ['x'] } }, /noneOf/],
  [{ groups: { exists: false } }, /expected true/],
  [{ id: { equals: 2 ** 53 } }, /exactly/],
  [{ 'a.constructor': { exists: true } }, /constructor/],
  [{ 'a b': { exists: true } }, /without spaces/],
  [{}, /at least one claim/],
])('the rule %j is refused', (rule, message) => {
  expect(() => claimRule.parse(rule)).toThrow(message);
});

test.each([
  ['email endsWith @example.com', [domain]],
  ['email endsWith @a.com, @b.com', [{ email: { endsWith: ['@a.com', '@b.com'] } }]],
  [
    'groups anyOf staff,"Night \\"and\\" day" and level equals 3 or plan exists',
    [{ groups: { anyOf: ['staff', 'Night "and" day'] }, level: { equals: 3 } }, { plan: { exists: true } }],
  ],
  ['id equals "3"', [{ id: { equals: '3' } }]],
])('LOGIN_ALLOWED=%s', (value, rules) => {
  const claims = { email: 'x@a.com', email_verified: true };
  const read = loginAllowed.parse(value);
  expect(createAlternatives(read, strict)(claims)).toEqual(
    createAlternatives(
      rules.map((each) => claimRule.parse(each)),
      strict,
    )(claims),
  );
  expect(read.map((each) => Object.keys(each))).toEqual(rules.map((each) => Object.keys(each)));
});

test.each([
  ['@example.com', /must be conditions/],
  ['email endsWith', /no value after endsWith/],
  ['email endsWith example.com', /evil-example.com/],
  ['email endswith @example.com', /possible are equals/],
  ['groups anyOf a b', /must be conditions/],
  ['groups anyOf a or', /must be conditions/],
  ['groups anyOf a and', /must be conditions/],
  ['groups anyOf a,,b', /is empty/],
  ['groups anyOf "a', /double quote/],
  ['groups anyOf a and groups anyOf b', /twice/],
  ['__proto__ exists', /__proto__/],
])('LOGIN_ALLOWED=%s is refused', (value, message) => {
  expect(loginAllowed.safeParse(value).error?.issues[0]?.message).toMatch(message);
});

test('claims are selected with the nesting that they have', () => {
  const claims = { sub: '1', a: { b: { c: 1 }, d: 2, secret: 3 }, 'x.y': 4, z: null };
  expect(selectClaims(claims, ['sub', 'a.b.c', 'a.d', 'x.y', 'z', 'none'])).toEqual({
    ...{ sub: '1', a: { b: { c: 1 }, d: 2 }, 'x.y': 4 },
  });
  expect(claims.a).toHaveProperty('secret');
  expect(readClaim(JSON.parse('{"__proto__": {"admin": true}}'), 'admin')).toBeUndefined();
});

test('what is said of an address does not hold for the next one', () => {
  const older = { email: 'a@example.com', email_verified: true, groups: ['x'] };
  expect(mergeClaims(older, { email: 'b@example.com' })).toEqual({ email: 'b@example.com', groups: ['x'] });
  expect(mergeClaims(older, { email: 'a@example.com' })).toEqual(older);
});

test('stored claims are about the user, and bounded; those that rules need come first', () => {
  const claims = {
    iss: 'i',
    nonce: 'n',
    _claim_sources: {},
    bio: 'x'.repeat(16_300),
    groups: ['a'.repeat(200)],
  };
  const tooLong: unknown[] = [];
  const stored = limitClaims(claims, new Set(['groups']), (names) => tooLong.push(names));
  expect(stored).toEqual({ groups: claims.groups });
  expect(tooLong).toEqual([['bio']]);
});

test.each([
  ['alice@example.com', 'alice@example.com'],
  ['Zoë', 'Zo%C3%AB'],
  ['a\r\nX-Admin: 1', 'a%0D%0AX-Admin: 1'],
  ['100%', '100%25'],
  [' a ', '%20a%20'],
  ['staff,admin', 'staff%2Cadmin'],
  [['staff', 'a,b', 7, true, null, {}], 'staff,a%2Cb,7,true'],
  ['\uD800', '%EF%BF%BD'],
  ['', undefined],
  [[], undefined],
  [{ a: 1 }, undefined],
])('the claim %j as a header', (value, expected) => {
  expect(encodeClaim(value)).toBe(expected);
});

test('a header that would be too long is left out', () => {
  const left: string[] = [];
  const claims = { sub: '1', groups: Array.from({ length: 500 }, (_each, index) => `group-${index}`) };
  const headers = createIdentityHeaders({ 'x-groups': 'groups', 'x-user': 'sub' }, claims, (each) =>
    left.push(each),
  );
  expect(headers).toEqual({ 'x-user': '1' });
  expect(left).toEqual(['x-groups']);
});
