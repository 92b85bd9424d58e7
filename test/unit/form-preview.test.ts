import { createFormPreview } from '../../src/saved-forms/form-preview.ts';

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
