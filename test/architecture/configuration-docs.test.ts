import { readFileSync } from 'node:fs';
import { fieldGroups, fields, type Variable } from '../../src/config/fields.ts';

interface Generator {
  configurationPage(groups: typeof fieldGroups): string;
  envExample(groups: typeof fieldGroups): string;
}

const root = new URL('../../', import.meta.url);
const { configurationPage, envExample }: Generator = await import(
  new URL('docs/generate-configuration.mjs', root).href
);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');

test('docs/configuration.md is what `npm run docs` generates from the schema', () => {
  expect(read('docs/configuration.md')).toBe(configurationPage(fieldGroups));
});

test('.env.example is what `npm run docs` generates from the schema', () => {
  expect(read('.env.example')).toBe(envExample(fieldGroups));
});

test.each(Object.entries(fields))(
  'the documented example of %s is valid, unless it is a description',
  (name, { type, example }) => {
    const isDescription = / (secret|output) /.test(example) || name === 'TRUST_PROXY';
    expect(isDescription || type.safeParse(example).success).toBe(true);
  },
);

test('a variable is documented as required exactly when the schema requires it', () => {
  const required = Object.entries(fields).filter(([, { type }]) => !type.safeParse(undefined).success);
  const documented = Object.entries(fields).filter(([, { unset }]) => unset === 'required');
  expect(documented.map(([name]) => name as Variable)).toEqual(required.map(([name]) => name as Variable));
});
