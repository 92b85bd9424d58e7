import { readFileSync } from 'node:fs';
import { flatten } from '../../../src/pages/i18n.ts';

export const languages = ['en', 'de'] as const;
export type Language = (typeof languages)[number];

/** The text of a key (`home.title`) in the language of the page, with `values` in place of its `{placeholders}`. */
export type PageTexts = (key: string, values?: Readonly<Record<string, string>>) => string;

export function readPageTexts(lang: Language): PageTexts {
  const file = new URL(`../../../views/texts/${lang}.json`, import.meta.url);
  const texts = new Map(flatten(JSON.parse(readFileSync(file, 'utf8'))));
  return (key, values = {}) =>
    texts.get(key)!.replace(/\{(\w+)\}/g, (placeholder, name: string) => values[name] ?? placeholder);
}
