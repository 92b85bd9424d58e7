import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Request, RequestHandler } from 'express';

/** One text by its key (`home.title`), with the values of its `{places}`. */
export type Translate = (key: string, values?: Readonly<Record<string, string | number>>) => string;

interface Nested {
  readonly [key: string]: string | Nested;
}

/** What pages speak when a browser asks for no language they have. */
const fallback = 'en';

/**
 * Gives views `lang`, and `t` for the texts of the language the browser asks for (`Accept-Language`): each file of
 * `folder` is one language, named by its tag.
 */
export function createTexts(folder: string): RequestHandler {
  const languages = new Map<string, Translate>();
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.json')))
    languages.set(basename(file, '.json'), translator(JSON.parse(readFileSync(join(folder, file), 'utf8'))));
  const tags = [fallback, ...[...languages.keys()].filter((tag) => tag !== fallback)];

  function languageOf(req: Request): string {
    return req.acceptsLanguages(tags) || fallback;
  }

  return function texts(req, res, next) {
    const lang = languageOf(req);
    res.locals.lang = lang;
    res.locals.t = languages.get(lang);
    res.vary('Accept-Language');
    next();
  };
}

function translator(texts: Nested): Translate {
  const byKey = new Map(flattened(texts));
  return function t(key, values = {}) {
    const text = byKey.get(key);
    if (text === undefined) throw new Error(`there is no text ${key}`);
    return text.replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ''));
  };
}

/** `{ home: { title } }` as `home.title`. */
export function flattened(texts: Nested, prefix = ''): [key: string, text: string][] {
  return Object.entries(texts).flatMap(([key, value]) =>
    typeof value === 'string' ? [[prefix + key, value]] : flattened(value, `${prefix}${key}.`),
  );
}
