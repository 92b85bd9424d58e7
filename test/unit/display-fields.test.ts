import { toDisplayFields } from '../../src/pages/display-fields.ts';

const text = (value: string) => ({ kind: 'text', value });

test.each([
  ['a text', 'Garden', text('Garden')],
  ['a day', '2019-05-04', { kind: 'day', value: '2019-05-04' }],
  ['a birthday without a year (OIDC Core 5.1), which is text', '0000-05-04', text('0000-05-04')],
  ['an impossible day, which is text', '2019-13-04', text('2019-13-04')],
  ['an instant', '2019-05-04T10:00:00Z', { kind: 'instant', value: Date.UTC(2019, 4, 4, 10) }],
  ['a URL', 'https://example.test/a?b=c', { kind: 'link', value: 'https://example.test/a?b=c' }],
  ['a javascript: URL, which is text', 'javascript:alert(1)', text('javascript:alert(1)')],
  [
    'a sentence that begins with a URL, which is text',
    'https://a.test is down',
    text('https://a.test is down'),
  ],
  ['a number', 1.5, { kind: 'number', value: 1.5 }],
  ['a boolean', false, { kind: 'flag', value: false }],
  ['a list', ['a', '', 2], { kind: 'list', values: [text('a'), { kind: 'number', value: 2 }] }],
  [
    'an object',
    { zipCode: 'N1', street: null },
    { kind: 'fields', fields: [{ key: 'zipCode', label: 'Zip code', value: text('N1') }] },
  ],
])('toDisplayFields recognises %s', (_what, value, display) => {
  expect(toDisplayFields({ it: value })).toEqual([{ key: 'it', label: 'It', value: display }]);
});

test.each([[''], ['  '], [null], [[]], [{}], [[null]], [{ a: { b: [] } }]])(
  'toDisplayFields omits %j',
  (value) => {
    expect(toDisplayFields({ it: value })).toEqual([]);
  },
);

test.each([
  ['memberSince', 'Member since'],
  ['preferred_username', 'Preferred username'],
  ['max-age', 'Max age'],
  ['öffnungsZeit', 'Öffnungs zeit'],
  ['__', '__'],
])('toDisplayFields labels the key %s as %s', (key, label) => {
  expect(toDisplayFields({ [key]: 'x' })).toMatchObject([{ label }]);
});

test('toDisplayFields reads a number as a time only in the claim updated_at', () => {
  expect(
    toDisplayFields({ updated_at: 1_500_000_000, count: 1_500_000_000, odd: { updated_at: 1e300 } }),
  ).toMatchObject([
    { value: { kind: 'instant', value: 1_500_000_000_000 } },
    { value: { kind: 'number' } },
    { value: { fields: [{ value: { kind: 'number' } }] } },
  ]);
});

test('toDisplayFields shows deeply nested values as JSON', () => {
  const nest = (depth: number): unknown => (depth === 0 ? 'x' : { a: nest(depth - 1) });
  expect(JSON.stringify(toDisplayFields({ a: nest(50) }))).toContain('{\\"a\\":');
});
