import { mapClaims } from '../../src/oauth/claims.ts';

test.each([
  ['a member', { sub: ['id'] }, { id: 'u1' }, { sub: 'u1' }],
  ['a number, which becomes its digits', { sub: ['id'] }, { id: 583_231 }, { sub: '583231' }],
  ['zero, which is a number', { sub: ['id'] }, { id: 0 }, { sub: '0' }],
  [
    'a member of a member',
    { name: ['data.user.name'] },
    { data: { user: { name: 'Ada' } } },
    { name: 'Ada' },
  ],
  ['an entry of a list', { picture: ['images.1.url'] }, { images: [{}, { url: 'p' }] }, { picture: 'p' }],
  ['an empty list', { picture: ['images.0.url'] }, { images: [] }, {}],
  ['the next place', { name: ['name', 'login'] }, { name: null, login: 'octo' }, { name: 'octo' }],
  [
    'the next place after an empty text',
    { name: ['name', 'login'] },
    { name: '', login: 'o' },
    { name: 'o' },
  ],
  ['the first place of two that hold something', { name: ['a', 'b'] }, { a: 'A', b: 'B' }, { name: 'A' }],
  ['an object where text is wanted', { name: ['name'] }, { name: { first: 'Ada' } }, {}],
  ['true where text is wanted', { name: ['name'] }, { name: true }, {}],
  ['what every object has', { name: ['constructor.name', 'toString'] }, {}, {}],
  ['the length of a text', { name: ['login.length'] }, { login: 'octo' }, {}],
  ['a list for an answer', { sub: ['id'] }, [], {}],
  ['no answer', { sub: ['id'] }, null, {}],
])('claims are read from %s', (_what, map, answer, expected) => {
  expect(mapClaims(answer, map)).toEqual(expected);
});
