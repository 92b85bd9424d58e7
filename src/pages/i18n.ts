import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { RequestHandler } from 'express';
import { createFormatters } from './formatters.ts';

type Values = Readonly<Record<string, string | number | undefined>>;

/** One text by its key (`home.title`), with the values of its `{places}`. */
export type Translate = (key: string, values?: Values) => string;

interface Nested {
  readonly [key: string]: string | Nested;
}

export interface I18n {
  /** Gives views the texts of the language that the browser prefers. */
  readonly texts: RequestHandler;
  /** The English texts, for JSON. */
  readonly english: Translate;
}

/** The language for browsers that accept none of ours. */
const defaultLanguage = 'en';
/** `en-GB`: a language where it is spoken, and so never what `Intl` would not take. */
const regional = /^[a-z]{2,3}-[A-Z]{2}$/;

/**
 * Gives views the language the browser asks for (`Accept-Language`): `lang`, `t` for its texts, `has` for whether there
 * is one, `format` for its dates and numbers. Each file of `folder` is one language, named by its tag.
 * @param globals values any text may use; one that is undefined is the text `common.<its name>`
 */
export function createI18n(folder: string, globals: Values = {}): I18n {
  const languages = new Map(
    readdirSync(folder)
      .filter((name) => name.endsWith('.json'))
      .map((name) => {
        const lang = basename(name, '.json');
        const texts = new Map(flatten(JSON.parse(readFileSync(join(folder, name), 'utf8'))));
        const has = (key: string) => texts.has(key);
        return [lang, { lang, t: translator(texts, globals), has }];
      }),
  );
  const tags = [defaultLanguage, ...[...languages.keys()].filter((tag) => tag !== defaultLanguage)];

  const texts: RequestHandler = function texts(req, res, next) {
    const lang = req.acceptsLanguages(tags) || defaultLanguage;
    const region = req.acceptsLanguages().find((each) => regional.test(each) && each.startsWith(`${lang}-`));
    Object.assign(res.locals, languages.get(lang), { format: createFormatters(region ?? lang) });
    res.vary('Accept-Language');
    next();
  };
  return { texts, english: languages.get(defaultLanguage)!.t };
}

function translator(texts: ReadonlyMap<string, string>, globals: Values): Translate {
  return function t(key, values = {}): string {
    const text = texts.get(key);
    if (text === undefined) throw new Error(`there is no text ${key}`);
    return text.replace(/\{(\w+)\}/g, (_, name: string) =>
      String(values[name] ?? globals[name] ?? t(`common.${name}`)),
    );
  };
}

/** `{ home: { title } }` as `home.title`. */
export function flatten(texts: Nested, prefix = ''): [key: string, text: string][] {
  return Object.entries(texts).flatMap(([key, value]) =>
    typeof value === 'string' ? [[prefix + key, value]] : flatten(value, `${prefix}${key}.`),
  );
}
