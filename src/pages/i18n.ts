import type { RequestHandler } from 'express';
import { formattersFor } from './formatters.ts';

type Values = Readonly<Record<string, string | number | undefined>>;

/** The text of a key (`home.title`), with `values` in place of its `{placeholders}`. */
export type Translate = (key: string, values?: Values) => string;

interface Nested {
  readonly [key: string]: string | Nested;
}

export interface I18n {
  /** Middleware that sets `lang`, `t`, `has` and `format` for views, in the language that the browser prefers. */
  readonly texts: RequestHandler;
  /** The English texts, for JSON. */
  readonly english: Translate;
}

/** Used when the browser accepts none of the languages. */
const defaultLanguage = 'en';
/** A language with a region (`en-GB`), in a form that `Intl` always accepts. */
const regionalTag = /^[a-z]{2,3}-[A-Z]{2}$/;

/** The texts of one language by key (`home.title`). */
export type LanguageTexts = ReadonlyMap<string, string>;

/**
 * The translations by language tag. Views get the language that fits `Accept-Language` best: `lang`, `t` (translate), `has`
 * (whether a text exists) and `format` (dates and numbers).
 * @param globals values for the placeholders of every text
 */
export function createI18n(translations: ReadonlyMap<string, LanguageTexts>, globals: Values = {}): I18n {
  const languages = new Map(
    [...translations].map(([lang, texts]) => [
      lang,
      { lang, t: createTranslate(texts, globals), has: (key: string) => texts.has(key) },
    ]),
  );
  const languageTags = [defaultLanguage, ...[...languages.keys()].filter((tag) => tag !== defaultLanguage)];

  const texts: RequestHandler = function texts(req, res, next) {
    const lang = req.acceptsLanguages(languageTags) || defaultLanguage;
    const region = req
      .acceptsLanguages()
      .find((each) => regionalTag.test(each) && each.startsWith(`${lang}-`));
    Object.assign(res.locals, languages.get(lang), { format: formattersFor(region ?? lang) });
    res.vary('Accept-Language');
    next();
  };
  return { texts, english: languages.get(defaultLanguage)!.t };
}

function createTranslate(texts: LanguageTexts, globals: Values): Translate {
  return function t(key, values = {}): string {
    const text = texts.get(key);
    if (text === undefined) throw new Error(`missing translation: ${key}`);
    return text.replace(/\{(\w+)\}/g, (_, name: string) => {
      const value = values[name] ?? globals[name];
      if (value === undefined) throw new Error(`no value for {${name}} in the text ${key}`);
      return String(value);
    });
  };
}

/** Nested texts as pairs of key and text: `{ home: { title } }` has the key `home.title`. */
export function flatten(texts: Nested, prefix = ''): [key: string, text: string][] {
  return Object.entries(texts).flatMap(([key, value]) => {
    if (typeof value === 'string') return [[prefix + key, value]];
    if (typeof value === 'object' && value !== null) return flatten(value, `${prefix}${key}.`);
    throw new Error(`${prefix}${key} must be a text`);
  });
}
