import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errorStatuses } from '../../src/errors.ts';
import { flatten } from '../../src/pages/i18n.ts';

const views = fileURLToPath(new URL('../../views/', import.meta.url));
const languages = readdirSync(join(views, 'texts')).map(
  (file) => [file, new Map(flatten(JSON.parse(readFileSync(join(views, 'texts', file), 'utf8'))))] as const,
);
const english = languages.find(([file]) => file === 'en.json')![1];
const viewSources = readdirSync(views, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ejs'))
  .map((file) => readFileSync(join(views, file), 'utf8'))
  .join('\n');

const helpers = readFileSync(new URL('../../src/pages/visitor.ts', import.meta.url), 'utf8');

/** The text keys in the views and their helpers: `t('home.title')`, and t(`error.${code}.title`) as a pattern. */
const used = [...(viewSources + helpers).matchAll(/\b(?:t|has)\((['`])(.*?)\1/g)].map(([, , key]) => key!);
const patterns = used.map(
  (key) => new RegExp(`^${key.replaceAll('.', '\\.').replace(/\$\{.*?\}/g, '[^.]+')}$`),
);
const placeholdersOf = (text: string) => [...new Set(text.match(/\{\w+\}/g))].sort();

test('views name no address of the app without the base path', () => {
  const addresses = [
    ...viewSources.matchAll(/\b(?:href|src|action)="(\/[^"]*)|'(\/(?:auth|api|profile)\b[^']*)'/g),
  ];
  expect(addresses.map(([text]) => text)).toEqual([]);
});

test.each(languages)(
  '%s has the same keys as the English file, each with the same placeholders',
  (_file, texts) => {
    expect([...texts].map(([key, text]) => [key, placeholdersOf(text)])).toEqual(
      [...english].map(([key, text]) => [key, placeholdersOf(text)]),
    );
    expect([...texts.values()].filter((text) => text.trim() !== text || text === '')).toEqual([]);
  },
);

test('views use only text keys that exist', () => {
  expect(used.length).toBeGreaterThan(50);
  expect(patterns.filter((pattern) => ![...english.keys()].some((key) => pattern.test(key)))).toEqual([]);
});

test('in French, no line begins with a punctuation mark', () => {
  const french = languages.find(([file]) => file === 'fr.json')![1];
  expect([...french.values()].filter((text) => /\w [;:!?»]|« /.test(text))).toEqual([]);
});

test('every text is used by a view', () => {
  const isUsed = (key: string) => patterns.some((pattern) => pattern.test(key));
  expect([...english.keys()].filter((key) => !isUsed(key))).toEqual([]);
});

test('every public error has a title and a text', () => {
  const keys = Object.keys(errorStatuses).flatMap((code) => [`error.${code}.title`, `error.${code}.text`]);
  expect(keys.filter((key) => !english.has(key))).toEqual([]);
});
