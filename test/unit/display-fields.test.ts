import { toDisplayFields } from '../../src/pages/display-fields.ts';

const text = (value: string) => ({ kind: 'text', value });

test.each([
  ['a text', 'Garden', text('Garden')],
  ['a day', '2019-05-04', { kind: 'day', value: '2019-05-04' }],
  ['a birthday without its year (OIDC Core 5.1)', '0000-05-04', text('0000-05-04')],
  ['a day no calendar has', '2019-13-04', text('2019-13-04')],
  ['an instant', '2019-05-04T10:00:00Z', { kind: 'instant', value: Date.UTC(2019, 4, 4, 10) }],
  ['a web address', 'https://example.test/a?b=c', { kind: 'link', value: 'https://example.test/a?b=c' }],
  ['an address that would run a script', 'javascript:alert(1)', text('javascript:alert(1)')],
  ['a sentence that begins with an address', 'https://a.test is down', text('https://a.test is down')],
  ['a number', 1.5, { kind: 'number', value: 1.5 }],
  ['a no', false, { kind: 'flag', value: false }],
  ['a list', ['a', '', 2], { kind: 'list', values: [text('a'), { kind: 'number', value: 2 }] }],
  [
    'what has members',
    { zipCode: 'N1', street: null },
    { kind: 'fields', fields: [{ key: 'zipCode', label: 'Zip code', value: text('N1') }] },
  ],
])('%s is shown as what it is', (_what, value, display) => {
  expect(toDisplayFields({ it: value })).toEqual([{ key: 'it', label: 'It', value: display }]);
});

test.each([[''], ['  '], [null], [[]], [{}], [[null]], [{ a: { b: [] } }]])('%j says nothing', (value) => {
  expect(toDisplayFields({ it: value })).toEqual([]);
});

test.each([
  ['memberSince', 'Member since'],
  ['preferred_username', 'Preferred username'],
  ['max-age', 'Max age'],
  ['öffnungsZeit', 'Öffnungs zeit'],
  ['__', '__'],
])('the key %s reads %s', (key, label) => {
  expect(toDisplayFields({ [key]: 'x' })).toMatchObject([{ label }]);
});

test('the claim updated_at is an instant in seconds, and nothing else is taken for one', () => {
  expect(
    toDisplayFields({ updated_at: 1_500_000_000, count: 1_500_000_000, odd: { updated_at: 1e300 } }),
  ).toMatchObject([
    { value: { kind: 'instant', value: 1_500_000_000_000 } },
    { value: { kind: 'number' } },
    { value: { fields: [{ value: { kind: 'number' } }] } },
  ]);
});

test('what is nested deeper than anyone reads is shown as it came', () => {
  const nest = (depth: number): unknown => (depth === 0 ? 'x' : { a: nest(depth - 1) });
  expect(JSON.stringify(toDisplayFields({ a: nest(50) }))).toContain('{\\"a\\":');
});
