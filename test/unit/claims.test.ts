import { mapClaims, UnusableIdentifierError } from '../../src/oauth/userinfo.ts';

test.each([
  ['a member', { sub: ['id'] }, { id: 'u1' }, { sub: 'u1' }],
  ['a number, which becomes a string', { sub: ['id'] }, { id: 583_231 }, { sub: '583231' }],
  ['zero, which counts as a value', { sub: ['id'] }, { id: 0 }, { sub: '0' }],
  ['a nested member', { name: ['data.user.name'] }, { data: { user: { name: 'Ada' } } }, { name: 'Ada' }],
  ['an entry of a list', { picture: ['images.1.url'] }, { images: [{}, { url: 'p' }] }, { picture: 'p' }],
  ['an empty list, which has no value', { picture: ['images.0.url'] }, { images: [] }, {}],
  [
    'the second path when the first is null',
    { name: ['name', 'login'] },
    { name: null, login: 'octo' },
    { name: 'octo' },
  ],
  [
    'the second path when the first is an empty string',
    { name: ['name', 'login'] },
    { name: '', login: 'o' },
    { name: 'o' },
  ],
  ['the first of two paths with values', { name: ['a', 'b'] }, { a: 'A', b: 'B' }, { name: 'A' }],
  ['an object, which is ignored', { name: ['name'] }, { name: { first: 'Ada' } }, {}],
  ['true, which is ignored', { name: ['name'] }, { name: true }, {}],
  ['inherited properties, which are ignored', { name: ['constructor.name', 'toString'] }, {}, {}],
  ['the length of a string, which is ignored', { name: ['login.length'] }, { login: 'octo' }, {}],
  ['a response that is a list', { sub: ['id'] }, [], {}],
  ['an empty response', { sub: ['id'] }, null, {}],
])('mapClaims handles %s', (_what, map, response, expected) => {
  expect(mapClaims(response, map)).toEqual(expected);
});

test.each([2 ** 53, -(2 ** 53), 1.5, 1e300])(
  'mapClaims refuses the number %d as a sub, because two users could have it',
  (id) => {
    expect(() => mapClaims({ id }, { sub: ['id'] })).toThrow(UnusableIdentifierError);
    expect(mapClaims({ id }, { name: ['id'] })).toEqual({});
  },
);
