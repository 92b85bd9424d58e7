import { createFormPreview, previewUrl } from '../../src/saved-forms/form-preview.ts';

test.each<[string, string, string, ReturnType<typeof createFormPreview>]>([
  [
    'a form',
    'application/x-www-form-urlencoded',
    'a=1&a=%C3%A9+2&b=',
    {
      fields: [
        { name: 'a', value: '1' },
        { name: 'a', value: 'é 2' },
        { name: 'b', value: '' },
      ],
      text: undefined,
    },
  ],
  [
    'a form with a long value',
    'application/x-www-form-urlencoded',
    `a=${'x'.repeat(500)}`,
    { fields: [{ name: 'a', value: `${'x'.repeat(200)}…` }], text: undefined },
  ],
  [
    'JSON',
    'Application/JSON; charset=utf-8',
    '{"a":[1]}',
    { fields: [], text: '{\n  "a": [\n    1\n  ]\n}' },
  ],
  ['invalid JSON', 'application/json', '{"a"', { fields: [], text: '{"a"' }],
])('createFormPreview previews %s', (_what, contentType, body, expected) => {
  expect(createFormPreview({ contentType, body: Buffer.from(body) })).toEqual(expected);
});

const preview = (contentType: string, body: string) =>
  createFormPreview({ contentType, body: Buffer.from(body) });
const urlencoded = 'application/x-www-form-urlencoded';
const maxFormLength = 262_144;

test.each([
  [
    'deeply nested arrays with many elements',
    `${'['.repeat(1_500)}${'0,'.repeat(129_000)}0${']'.repeat(1_500)}`,
  ],
  ['only opening brackets', '['.repeat(maxFormLength)],
  ['a very deep array', '['.repeat(131_072) + ']'.repeat(131_072)],
  ['a very deep object', `${'{"a":'.repeat(43_000)}0${'}'.repeat(43_000)}`],
  ['one long string of characters that JSON escapes', `"${'\\u0000'.repeat(43_000)}"`],
  ['one long name', `{"${'x'.repeat(262_000)}":1}`],
  ['many empty objects', `[${'{},'.repeat(80_000)}0]`],
])('the preview of %s is short, and as fast as reading the form', (_what, body) => {
  const startedAt = process.cpuUsage();
  const { text } = preview('application/json', body);
  const { user } = process.cpuUsage(startedAt);
  expect(text!.length).toBeLessThanOrEqual(4_001);
  expect(user).toBeLessThan(500_000); // microseconds; printing it with indentation took seconds
});

test.each([
  ['many fields', 'a&'.repeat(131_072)],
  ['one long value of percent-encoded bytes', `a=${'%00'.repeat(87_000)}`],
  ['one long name', 'x'.repeat(maxFormLength)],
])('the preview of a form with %s has at most 100 short fields', (_what, body) => {
  const { fields } = preview(urlencoded, body);
  expect(fields.length).toBeLessThanOrEqual(100);
  for (const { name, value } of fields) expect(name.length + value.length).toBeLessThanOrEqual(262);
});

const secretNames = [
  ...[
    'password',
    'Password',
    'new_password',
    'newPassword',
    'user[password]',
    'passwd',
    'pwd',
    'passphrase',
    'pass',
  ],
  ...[
    'client_secret',
    'secret',
    'access_token',
    'refreshToken',
    'token',
    'api_key',
    'apiKey',
    'pin',
    'user-pin',
  ],
  ...[
    'cvc',
    'card[cvv]',
    'otp',
    'one.time.otp',
    'credentials',
    'Passwort',
    'contrase\u00f1a',
    'mot_de_passe',
  ],
];
const otherNames = [
  'title',
  'compass',
  'passenger',
  'shipping',
  'spinner',
  'tokenize',
  'secretary',
  'opinion',
  'key',
];

test.each(secretNames)('the preview of a form shows no value of %s', (name) => {
  const form = new URLSearchParams([[name, 'hunter2']]);
  for (const shown of [
    preview(urlencoded, `${form}`),
    preview('application/json', JSON.stringify({ a: [{ [name]: 'hunter2' }] })),
    preview('application/json', JSON.stringify({ [name]: { nested: ['hunter2'] } })),
    { url: previewUrl(`/api/data?a=1&${form}`) },
  ]) {
    expect(JSON.stringify(shown)).not.toContain('hunter2');
    expect(JSON.stringify(shown)).toContain('••••••••');
  }
});

test.each(otherNames)('the preview of a form shows the value of %s', (name) => {
  expect(preview(urlencoded, `${name}=hunter2`).fields).toEqual([{ name, value: 'hunter2' }]);
  expect(preview('application/json', JSON.stringify({ [name]: 'hunter2' })).text).toContain('hunter2');
});

test('the preview of invalid JSON shows no secret either', () => {
  const { text } = preview('application/json', '{"title": "x", "password": "hunter\\"2", "pin": 1234, ');
  expect(text).toBe('{"title": "x", "password": "••••••••", "pin": "••••••••", ');
});

test('the preview of a form without secrets shows its address unchanged', () => {
  for (const url of ['/api/data', '/api/data?', '/api/data?a=1&b=%20&a', '/api/a?b?c=1'])
    expect(previewUrl(url)).toBe(url);
});
