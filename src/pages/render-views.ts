import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import ejs from 'ejs';
import type { Logger } from '../logger.ts';

type Data = Readonly<Record<string, unknown>>;
type Template = (data: Data) => string;
type Done = (error: unknown, html?: string) => void;

interface EngineOptions {
  /** The folders with templates; one in an earlier folder replaces the one of the same name in a later folder. */
  readonly folders: readonly string[];
  /** Whether each template is read once. */
  readonly isCached: boolean;
  readonly log: Logger;
}

/**
 * The template engine, for `app.engine`. `include('partials/top')` finds templates next to the one that includes, then from
 * the top of the folders. If a template of an earlier folder throws, the page is rendered with the last folder only.
 */
export function createViewEngine({ folders, isCached, log }: EngineOptions) {
  const builtIn = folders.at(-1)!;
  const renderAll = createRenderer(folders, isCached);
  const renderBuiltIn = createRenderer([builtIn], isCached);

  return function renderView(path: string, data: object, done: Done): void {
    const folder = folders.find((each) => path.startsWith(join(each, '/'))) ?? builtIn;
    const name = relative(folder, path);
    try {
      done(null, renderAll(name, { ...data }));
    } catch (error) {
      if (folders.length === 1) {
        done(error);
        return;
      }
      log.error(
        { err: error, view: name },
        'a template in VIEWS_DIR fails; showing the built-in page instead',
      );
      try {
        done(null, renderBuiltIn(name, { ...data }));
      } catch (builtInError) {
        done(builtInError);
      }
    }
  };
}

/** Renders a template by its name. Not the cache and the `include` of EJS, as they are the same for the whole process. */
function createRenderer(folders: readonly string[], isCached: boolean) {
  const cache = new Map<string, Template>();

  function load(names: readonly string[]): { readonly name: string; readonly template: Template } {
    for (const name of names) {
      const known = cache.get(name);
      if (known) return { name, template: known };
      const folder = folders.find((each) => existsSync(join(each, name)));
      if (folder === undefined) continue;
      const template = compileView(join(folder, name));
      if (isCached) cache.set(name, template);
      return { name, template };
    }
    throw new Error(`there is no template ${names.at(-1)}`);
  }

  function render(names: readonly string[], data: Data): string {
    const { name, template } = load(names);
    const include = (child: string, values: Data = {}) => {
      const file = child.endsWith('.ejs') ? child : `${child}.ejs`;
      return render([join(dirname(name), file), file], { ...data, ...values });
    };
    return template({ ...data, include });
  }

  return (name: string, data: Data) => render([name], data);
}

/**
 * The template in the file at `path`.
 * @throws SyntaxError, with the path in its message
 */
export function compileView(path: string): Template {
  return ejs.compile(readFileSync(path, 'utf8'), { filename: path });
}
