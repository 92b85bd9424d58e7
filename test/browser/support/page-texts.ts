import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { flatten } from '../../../src/pages/i18n.ts';

const folder = new URL('../../../views/texts/', import.meta.url);

/** The tags of all languages, English first. */
export const languages: readonly string[] = [
  'en',
  ...readdirSync(folder)
    .map((name) => basename(name, '.json'))
    .filter((lang) => lang !== 'en'),
];

/** The text of a key (`home.title`) in the language of the page, with `values` in place of its `{placeholders}`. */
export type PageTexts = (key: string, values?: Readonly<Record<string, string>>) => string;

export function readPageTexts(lang: string): PageTexts {
  const texts = new Map(flatten(JSON.parse(readFileSync(new URL(`${lang}.json`, folder), 'utf8'))));
  return (key, values = {}) =>
    texts.get(key)!.replace(/\{(\w+)\}/g, (placeholder, name: string) => values[name] ?? placeholder);
}
