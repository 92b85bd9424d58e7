import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { parse as parseEnv } from 'dotenv';
import { secretVariables } from '../../src/config/fields.ts';
import { loadConfig } from '../../src/config/load.ts';
import { readRouteTable } from '../../src/config/route-table.ts';
import { root } from './build.ts';
import { validEnv } from './processes.ts';

/** A code block of a page. Its info string is a language and attributes: `ts file=src/own/routes.ts`. */
export interface CodeBlock {
  /** `docs/api-routes.md:102` */
  readonly place: string;
  readonly page: string;
  readonly language: string;
  /**
   * - `file`: where the reader saves the block; relative imports are resolved from there
   * - `unchecked`: why the block is not checked
   * - `checked-by`: the test that runs it, which names the page
   */
  readonly attributes: Readonly<Record<string, string>>;
  readonly code: string;
}

/** Languages that are not code, or that the code host itself draws. */
const notCode = new Set(['text', 'mermaid']);
const scripts = new Set(['ts', 'tsx', 'js', 'jsx']);
const routeOptions = {
  base: new URL('https://api.example.com'),
  allowHttp: () => true,
  tokenRefusedStatuses: [401],
};

/** The pages with code for readers: those of the root, `docs` and `bench`, and the READMEs of the examples. */
export function listPages(): readonly string[] {
  const inFolder = (folder: string) =>
    existsSync(join(root, folder))
      ? readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) =>
          join(folder, name),
        )
      : [];
  return [...readdirSync(root), ...inFolder('docs'), ...inFolder('bench'), ...inFolder('examples')].filter(
    (path) => path.endsWith('.md') && !path.includes('node_modules'),
  );
}

export function listBlocks(
  page: string,
  text = readFileSync(join(root, page), 'utf8'),
): readonly CodeBlock[] {
  const lines = text.split('\n');
  const blocks: CodeBlock[] = [];
  for (let index = 0; index < lines.length; index += 1) {
    const [, indent = '', info = ''] = /^( *)```(.*)$/.exec(lines[index]!) ?? [];
    if (!/^ *```/.test(lines[index]!)) continue;
    const start = index + 1;
    for (index = start; index < lines.length && lines[index]!.trim() !== '```'; ) index += 1;
    const [language = ''] = info.split(' ', 1);
    const attributes = [...info.matchAll(/([\w-]+)=(?:"([^"]*)"|(\S+))/g)].map(
      ([, name, quoted, plain]) => [name!, quoted ?? plain!] as const,
    );
    blocks.push({
      ...{ place: `${page}:${start}`, page, language },
      attributes: Object.fromEntries(attributes),
      code: `${lines
        .slice(start, index)
        .map((line) => line.slice(indent.length))
        .join('\n')}\n`,
    });
  }
  return blocks;
}

/** What is wrong with the blocks, one line each, with its place. */
export function checkBlocks(blocks: readonly CodeBlock[]): readonly string[] {
  const checked = blocks.filter(
    ({ language, attributes }) => !notCode.has(language) && !('unchecked' in attributes),
  );
  const own = checked.filter(({ attributes }) => !('checked-by' in attributes));
  const problems = own.flatMap((block) => checkBlock(block, blocks).map((each) => `${block.place} ${each}`));
  return [...blocks.flatMap(checkAttributes), ...problems, ...checkTypes(own.flatMap(toScripts))];
}

function checkAttributes({ place, page, language, attributes }: CodeBlock): readonly string[] {
  if (language === '') return [`${place} has no language; "text" is for output`];
  const unknown = Object.keys(attributes).filter(
    (each) => !['file', 'unchecked', 'checked-by'].includes(each),
  );
  if (unknown.length > 0) return [`${place} has an unknown attribute: ${unknown}`];
  const { unchecked, 'checked-by': test } = attributes;
  if (unchecked !== undefined && unchecked.split(' ').length < 3)
    return [`${place} does not say why it is unchecked`];
  if (test === undefined) return [];
  if (!existsSync(join(root, test))) return [`${place} names a test that does not exist: ${test}`];
  return readFileSync(join(root, test), 'utf8').includes(page)
    ? []
    : [`${place}: ${test} does not name ${page}`];
}

function checkBlock(block: CodeBlock, all: readonly CodeBlock[]): readonly string[] {
  if (scripts.has(block.language)) return []; // see checkTypes
  switch (block.language) {
    case 'json':
      return checkJson(block.code);
    case 'sh':
      return [...checkSettings(block, all), ...checkCommands(block, all)];
    case 'html':
      return checkHtml(block.code);
    default:
      return [
        `cannot be checked: say why in an attribute unchecked="...", or name its test in checked-by=...`,
      ];
  }
}

function checkJson(code: string): readonly string[] {
  let json: unknown;
  try {
    json = JSON.parse(code);
  } catch (error) {
    return [`is not JSON: ${(error as Error).message}`];
  }
  return typeof json === 'object' && json !== null && 'routes' in json
    ? readRouteTable(json, routeOptions).problems.map((each) => `is not a valid route table: ${each}`)
    : [];
}

/** The lines of a shell block that only set variables, as the content of `.env`. */
const settingLine = /^[A-Z][A-Z\d_]*=('[^']*'|"[^"]*"|\S*)(\s+#.*)?$/;

function checkSettings({ code, page }: CodeBlock, all: readonly CodeBlock[]): readonly string[] {
  const lines = code.split('\n').filter((line) => settingLine.test(line));
  if (lines.length === 0) return [];
  const set = parseEnv(lines.join('\n'));
  for (const name of secretVariables) if (set[name]) set[name] = validEnv.SESSION_SECRET; // a reader's own
  for (const [name, value] of Object.entries(set)) if (value === '...') set[name] = 'x';
  const scratch = mkdtempSync(join(root, 'node_modules/.docs-env-'));
  try {
    if (set.API_ROUTES_FILE) {
      const table = all.find(
        (each) => each.page === page && each.attributes.file === set.API_ROUTES_FILE?.replace('./', ''),
      );
      if (!table) return [`names a file that no block of ${page} has as its file: ${set.API_ROUTES_FILE}`];
      set.API_ROUTES_FILE = join(scratch, 'routes.json');
      writeFileSync(set.API_ROUTES_FILE, table.code);
    }
    if (set.APP_DIR) {
      writeFileSync(join(scratch, 'index.html'), '<!doctype html>');
      set.APP_DIR = scratch;
    }
    const { OAUTH2_ISSUER: _issuer, OAUTH2_API_BASE_URL: _api, ...withoutProvider } = validEnv;
    const config = loadConfig({ ...(set.OAUTH2_PROVIDER ? withoutProvider : validEnv), ...set });
    return config.warnings.filter((each) => /not a setting|did you mean/i.test(each));
  } catch (error) {
    return [`has settings that Latchkey does not accept: ${(error as Error).message}`];
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Programs that come with the system or the reader's tools. */
const programs = new Set([
  'apt-get',
  'cd',
  'cp',
  'curl',
  'docker',
  'echo',
  'git',
  'kubectl',
  'mkdir',
  'nginx',
  'openssl',
  'read',
  'redis-cli',
  'rm',
  'tar',
]);

function checkCommands({ code, page }: CodeBlock, all: readonly CodeBlock[]): readonly string[] {
  const packageJson = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const created = new Set(all.filter((each) => each.page === page).map(({ attributes }) => attributes.file));
  const exists = (path: string) =>
    created.has(path.replace(/^\.\//, '')) ||
    existsSync(join(root, path.replace(/^(\.\/)?dist\//, 'src/').replace(/\.js$/, '.ts'))) ||
    existsSync(join(root, path));
  const commands = code
    .replace(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => !settingLine.test(line))
    .flatMap((line) => line.replace(/(^|\s)#.*$/, '').split(/&&|\||;|\s&(?=\s|$)/))
    .map((each) => each.trim().replace(/^([A-Z][A-Z\d_]*=('[^']*'|"[^"]*"|\S*)\s+)+/, ''))
    .filter((each) => each !== '');
  return commands.flatMap((command) => {
    const [program = '', ...args] = command.split(/\s+/);
    const words = args.filter((each) => !each.startsWith('-'));
    if (program === 'npm') {
      const [verb = '', name = ''] = words;
      const script = verb === 'run' ? name : ['test', 'start'].includes(verb) ? verb : undefined;
      return script === undefined || script in packageJson.scripts
        ? []
        : [`runs an npm script that does not exist: ${script}`];
    }
    if (program === 'node') {
      const file = words.find((each) => /\.m?[jt]s$/.test(each) && !each.startsWith('test/flow'));
      return file === undefined || exists(file) ? [] : [`runs a file that does not exist: ${file}`];
    }
    if (program === 'npx' || program === 'latchkey')
      return program in packageJson.bin ||
        words[0] === 'latchkey' ||
        /^\.\/latchkey-/.test(words[0] ?? '') ||
        words[0] === 'vite'
        ? []
        : [`runs a package that is not a dependency: ${words[0]}`];
    const profile = /compose .*--profile (\S+)/.exec(command)?.[1];
    if (profile && !readFileSync(join(root, 'docker-compose.yml'), 'utf8').includes(`profiles: [${profile}`))
      return [`uses a profile that docker-compose.yml does not have: ${profile}`];
    return programs.has(program) ? [] : [`runs a program that is not known: ${program}`];
  });
}

function checkHtml(code: string): readonly string[] {
  return [...code.matchAll(/(?:src|href)="\/auth\/assets\/([^"]+)"/g)]
    .filter(([, name]) => !existsSync(join(root, 'public', name!)))
    .map(([, name]) => `loads a file that is not in public/: ${name}`);
}

/** The blocks that are scripts, and the scripts within HTML. */
function toScripts(block: CodeBlock): readonly CodeBlock[] {
  if (scripts.has(block.language)) return [block];
  if (block.language !== 'html') return [];
  return [...block.code.matchAll(/<script[^>]*>([\s\S]+?)<\/script>/g)].map(([, code]) => ({
    ...block,
    language: 'js',
    code: code!,
  }));
}

const compilerOptions = {
  ...{ target: 'es2023', lib: ['es2023', 'dom', 'dom.iterable'], module: 'nodenext', jsx: 'react-jsx' },
  ...{
    strict: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    verbatimModuleSyntax: true,
  },
  ...{ esModuleInterop: true, skipLibCheck: true, allowImportingTsExtensions: true },
  ...{ allowJs: true, checkJs: true, noEmit: true, types: ['node'], rootDirs: ['.', root] },
};
/** What the package exports, as the sources of its types. */
function listExports(): Record<string, readonly string[]> {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    readonly exports: Record<string, string | { readonly types?: string }>;
  };
  const typed = Object.entries(exports).flatMap(([name, target]) => {
    const types = typeof target === 'string' ? target : target.types;
    const source = types?.replace(/^\.\/dist\/(.*)\.d\.ts$/, './src/$1.ts');
    return source?.endsWith('.ts') ? [[join('latchkey', name), [join(root, source)]] as const] : [];
  });
  return { ...Object.fromEntries(typed), react: [join(root, 'test/support/react-hooks.d.ts')] };
}

/** Compiles the blocks as one strict program, each as a module. In JavaScript, parameters and errors need no types. */
function checkTypes(blocks: readonly CodeBlock[]): readonly string[] {
  if (blocks.length === 0) return [];
  const scratch = mkdtempSync(join(root, 'node_modules/.docs-code-'));
  try {
    const places = new Map<string, string>();
    for (const [index, { place, language, attributes, code }] of blocks.entries()) {
      const { file = '' } = attributes;
      const name = join(dirname(file), `block-${index}.${language}`);
      places.set(name, place);
      mkdirSync(join(scratch, dirname(name)), { recursive: true });
      const served = code.replace(/(['"])(?:\/auth\/assets|\.)\/latchkey\.js\1/g, "'latchkey/browser'");
      writeFileSync(join(scratch, name), `${served}export {};\n`);
    }
    symlinkSync(join(root, 'node_modules'), join(scratch, 'node_modules'));
    writeFileSync(join(scratch, 'package.json'), '{"type":"module"}');
    const options = { ...compilerOptions, paths: listExports() };
    writeFileSync(
      join(scratch, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: options, include: ['**/block-*'], exclude: ['node_modules'] }),
    );
    return compile(scratch).flatMap((line) => {
      const [, name = '', at = '', code = '', message = ''] =
        /^(.*?)\((\d+),\d+\): error TS(\d+): (.*)$/.exec(line) ?? [];
      if (name === '') return [line];
      const isOfSource = name.startsWith('..'); // which `npm run typecheck` compiles without the types of the DOM
      const isUntyped = /^(70|18046)/.test(code) && /\.jsx?$/.test(name);
      return isOfSource || isUntyped ? [] : [`${places.get(name) ?? name} line ${at}: ${message}`];
    });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** The first lines of all errors. */
function compile(folder: string): readonly string[] {
  const tsc = join(root, 'node_modules/.bin/tsc');
  try {
    execFileSync(tsc, ['-p', folder, '--pretty', 'false'], { cwd: folder, encoding: 'utf8', stdio: 'pipe' });
    return [];
  } catch (error) {
    const { stdout, stderr } = error as { readonly stdout: string; readonly stderr: string };
    return `${stdout}${stderr}`.split('\n').filter((line) => line !== '' && !line.startsWith(' '));
  }
}
