import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { ConfigError } from '../config/load.ts';
import { flatten, type LanguageTexts } from './i18n.ts';
import { compileView } from './render-views.ts';

/** The templates, texts and assets of the pages. */
export interface ViewFolders {
  /** Folders with templates, those of `VIEWS_DIR` first. */
  readonly views: readonly string[];
  /** Folders with static files, those of `VIEWS_DIR` first. */
  readonly assets: readonly string[];
  /** By language tag. */
  readonly texts: ReadonlyMap<string, LanguageTexts>;
}

interface BuiltIn {
  readonly views: string;
  readonly assets: string;
}

type Report = (message: string) => void;

const defaultLanguage = 'en';
/** Texts under these keys may be added; all other keys exist in English. */
const openKeys = /^(own|claims|scopes)\./;
/** Values that every text may use. */
const globalPlaceholders = ['{app}', '{provider}'];

/**
 * The built-in folders, and the folder `replacing` (`VIEWS_DIR`), whose files replace built-in ones of the same name.
 * @throws ConfigError with every problem of `replacing`
 */
export function openViewFolders(builtIn: BuiltIn, replacing: string | undefined): ViewFolders {
  const texts = new Map<string, LanguageTexts>();
  for (const [lang, each] of readTexts(join(builtIn.views, 'texts'), fail)) texts.set(lang, new Map(each));
  if (replacing === undefined) return { views: [builtIn.views], assets: [builtIn.assets], texts };

  const problems: string[] = [];
  const report: Report = (message) => problems.push(message);
  const names = listFiles(replacing, report);
  if (problems.length === 0 && !names.some((name) => /\.ejs$|^(texts|assets)\//.test(name)))
    report(`has neither templates (*.ejs) nor the folders texts and assets (${replacing})`);
  checkTemplates(replacing, names, listFiles(builtIn.views, fail), report);
  const english = texts.get(defaultLanguage)!;
  if (names.some((name) => name.startsWith('texts/')))
    for (const [lang, added] of readTexts(join(replacing, 'texts'), report)) {
      checkTexts(`texts/${lang}.json`, added, english, report);
      texts.set(lang, new Map([...(texts.get(lang) ?? []), ...added]));
    }
  const complete = texts.get(defaultLanguage)!;
  for (const [lang, each] of texts) texts.set(lang, new Map([...complete, ...each]));
  if (problems.length > 0)
    throw new ConfigError(
      problems.map((message) => ({ variable: 'VIEWS_DIR', message })),
      [],
    );
  return {
    views: [replacing, builtIn.views],
    assets: [
      ...(names.some((name) => name.startsWith('assets/')) ? [join(replacing, 'assets')] : []),
      builtIn.assets,
    ],
    texts,
  };
}

function fail(message: string): never {
  throw new Error(`a built-in file ${message}`);
}

/** Every file below `folder`, as a path with slashes; not those with a dot in front, which editors and Kubernetes add. */
function listFiles(folder: string, report: Report): readonly string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .map((name) => name.replaceAll('\\', '/'))
      .filter((name) => !/(^|\/)\./.test(name) && statSync(join(folder, name)).isFile());
  } catch (error) {
    report(`is a folder that does not exist or cannot be read: ${describe(error)}`);
    return [];
  }
}

/** A template must replace one that exists, unless it is in `partials/`, where other templates can include it. */
function checkTemplates(
  folder: string,
  names: readonly string[],
  builtIn: readonly string[],
  report: Report,
): void {
  for (const name of names.filter((each) => each.endsWith('.ejs'))) {
    if (!builtIn.includes(name) && !name.startsWith('partials/'))
      report(
        `has ${name}, but there is no template of that name to replace. The templates are ${builtIn
          .filter((each) => each.endsWith('.ejs') && !each.startsWith('partials/'))
          .join(', ')}; what they include goes to partials/`,
      );
    try {
      compileView(join(folder, name));
    } catch (error) {
      report(`has a template with an error: ${describe(error)}`);
    }
  }
}

/** The texts of each language, by key. */
function readTexts(folder: string, report: Report): readonly (readonly [string, LanguageTexts])[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json') && !name.startsWith('.'))
    .flatMap((name) => {
      const lang = basename(name, '.json');
      try {
        if (!/^[a-z]{2,3}(-|$)/.test(lang) || Intl.getCanonicalLocales(lang)[0] !== lang)
          throw new RangeError(lang);
      } catch {
        report(`has texts/${name}, whose name is no language tag such as fr or pt-BR`);
        return [];
      }
      try {
        return [[lang, new Map(flatten(JSON.parse(readFileSync(join(folder, name), 'utf8'))))] as const];
      } catch (error) {
        report(`has texts/${name}, which cannot be read: ${describe(error)}`);
        return [];
      }
    });
}

/** A text replaces one that exists and uses no placeholders but those of the English one. */
function checkTexts(file: string, added: LanguageTexts, english: LanguageTexts, report: Report): void {
  for (const [key, text] of added) {
    const original = english.get(key);
    if (original === undefined && !openKeys.test(key))
      report(
        `has ${file} with the text ${key}, which no page uses; texts of your own templates go under "own"`,
      );
    if (original === undefined) continue;
    const known = [...(original.match(/\{\w+\}/g) ?? []), ...globalPlaceholders];
    const unknown = (text.match(/\{\w+\}/g) ?? []).filter((each) => !known.includes(each));
    if (unknown.length > 0)
      report(`has ${file} whose text ${key} uses ${unknown.join(' ')}; it can use ${known.join(' ')}`);
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
