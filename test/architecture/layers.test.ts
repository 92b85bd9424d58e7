import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** Imported files of this project, as paths from its root. */
  readonly local: readonly string[];
  readonly packages: readonly string[];
}

function read(folder: string): SourceFile[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => {
      const path = join(folder, name);
      const text = readFileSync(join(root, path), 'utf8');
      const imported = [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(([, each]) => each!);
      return {
        path,
        text,
        local: imported
          .filter((each) => each.startsWith('.'))
          .map((each) => relative(root, join(root, dirname(path), each))),
        packages: imported.filter((each) => !each.startsWith('.')),
      };
    });
}

const src = read('src');
const demo = read('demo');

/**
 * From the bottom up. A file imports only from its own layer or a lower one. `stores` implements interfaces of the
 * layers below it, so only `deps.ts` imports it.
 */
const layers = [
  ...[
    'time',
    'ground',
    'metrics',
    'crypto',
    'claims',
    'config',
    'audit',
    'oauth',
    'tokens',
    'observability',
    'middleware',
    'session',
  ],
  ...['login', 'saved-forms'],
  ...[
    'proxy',
    'pages',
    'front-end',
    'routes',
    'own',
    'stores',
    'deps',
    'server',
    'wiring',
    'app',
    'embedded',
  ],
  ...['cli', 'main', 'testing'],
];
const groundFiles = [
  ...[
    'circuit-breaker',
    'errors',
    'fair-queue',
    'in-sequence',
    'log-format',
    'logger',
    'paths',
    'request-context',
    'response-closed',
    'standard-output',
    'tracing',
  ],
].map((name) => `src/${name}.ts`);

function layerOf(path: string): string {
  if (groundFiles.includes(path)) return 'ground';
  const [, folder = '', ...rest] = path.split('/');
  return rest.length > 0 ? folder : folder.replace(/\.ts$/, '');
}

test('every file belongs to a layer and imports only from its own layer or a lower one', () => {
  expect(src.length).toBeGreaterThan(20);
  for (const { path, local } of src) {
    expect(layers).toContain(layerOf(path));
    for (const each of local) {
      const isDown = layers.indexOf(layerOf(each)) <= layers.indexOf(layerOf(path));
      expect(`${path} -> ${each}: ${isDown ? 'down' : 'UP'}`).toBe(`${path} -> ${each}: down`);
    }
  }
});

test('only deps.ts imports the stores', () => {
  for (const { path, local } of src.filter(
    ({ path }) => layerOf(path) !== 'stores' && path !== 'src/deps.ts',
  ))
    for (const each of local) expect(`${path} -> ${layerOf(each)}`).not.toMatch(/ stores$/);
});

test('nothing imports testing/, and testing/ imports nothing of the other modules', () => {
  const isTesting = (path: string) => path.startsWith('src/testing/');
  const crossing = src.flatMap(({ path, local }) =>
    local.filter((each) => isTesting(each) !== isTesting(path)).map((each) => `${path} -> ${each}`),
  );
  expect(crossing).toEqual([]);
});

test('no module has more than 15 files, no file has more than 250 lines, and the median file has fewer than 80', () => {
  const modules = new Map<string, number>();
  for (const { path } of src) modules.set(dirname(path), (modules.get(dirname(path)) ?? 0) + 1);
  expect([...modules].filter(([, files]) => files > 15)).toEqual([]);
  const lines = src.map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }));
  expect(lines.filter((each) => each.lines > 250)).toEqual([]);
  const sorted = lines.map((each) => each.lines).sort((one, other) => one - other);
  expect(sorted[Math.floor(sorted.length / 2)]).toBeLessThan(80);
});

test('no imports form a cycle', () => {
  const imports = new Map(src.map(({ path, local }) => [path, local]));
  const visited = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    expect(trail).not.toContain(path);
    if (visited.has(path)) return;
    for (const each of imports.get(path) ?? []) visit(each, [...trail, path]);
    visited.add(path);
  };
  for (const { path } of src) visit(path, []);
  expect(visited.size).toBe(src.length);
});

test('crypto/, config/, oauth/ and tokens/ do not use Express, and only stores/ and deps.ts use Redis', () => {
  for (const { path, packages } of src.filter(({ path }) =>
    /^src\/(crypto|config|oauth|tokens)\//.test(path),
  ))
    for (const each of packages) expect(`${path} ${each}`).not.toMatch(/ (express|connect-redis|ejs|helmet)/);
  for (const { path, packages } of src.filter(({ path }) => !/^src\/(stores\/|deps\.ts)/.test(path)))
    for (const each of packages) expect(`${path} ${each}`).not.toMatch(/ (ioredis|connect-redis)/);
});

test('only oauth/ uses the protocol library', () => {
  for (const { path, packages } of src.filter(({ path }) => !path.startsWith('src/oauth/')))
    expect(`${path} ${packages.filter((each) => each === 'openid-client')}`).toBe(`${path} `);
});

test('crypto/, oauth/, tokens/ and stores/ do not import paths.ts', () => {
  for (const { path, local } of src.filter(({ path }) => /^src\/(crypto|oauth|tokens|stores)\//.test(path)))
    expect(`${path} ${local.filter((each) => each === 'src/paths.ts')}`).toBe(`${path} `);
});

test('only main.ts and cli.ts use process and console', () => {
  for (const { path, text } of src.filter(({ path }) => !['src/main.ts', 'src/cli.ts'].includes(path)))
    expect(`${path} ${/(?<![\w/-])(process|console)\.\w/.exec(text)?.[0] ?? 'neither'}`).toBe(
      `${path} neither`,
    );
});

test('bench/ imports nothing from src/, demo/ or test/', () => {
  const modules = readdirSync(join(root, 'bench'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.mjs'),
  );
  expect(modules.length).toBeGreaterThan(10);
  for (const name of modules) {
    const text = readFileSync(join(root, 'bench', name), 'utf8');
    for (const [, each] of text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g))
      expect(join('bench', dirname(name), each!)).toMatch(/^bench\//);
  }
});

test('src/ and demo/ do not import from each other', () => {
  for (const { path, local } of src) for (const each of local) expect(`${path} ${each}`).toMatch(/ src\//);
  for (const { path, local } of demo) for (const each of local) expect(`${path} ${each}`).toMatch(/ demo\//);
});

test('every package that src/ uses is a dependency, and every dependency is used', () => {
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const used = new Set(
    src
      .flatMap(({ packages }) => packages)
      .filter((each) => !each.startsWith('node:'))
      .map((each) =>
        each
          .split('/')
          .slice(0, each.startsWith('@') ? 2 : 1)
          .join('/'),
      ),
  );
  for (const each of used) expect(dependencies).toHaveProperty([each]);
  expect(Object.keys(dependencies).filter((each) => !used.has(each))).toEqual([]);
  // What only `latchkey dev` uses, which the production image leaves out.
  expect(Object.keys(optionalDependencies).sort()).toEqual(['chokidar', 'oidc-provider']);
  expect(readFileSync(join(root, 'Dockerfile'), 'utf8')).toContain('npm ci --omit=dev --omit=optional ');
});

test('there are no utils, helpers or index files, and no skipped or focused tests', () => {
  for (const { path } of [...src, ...demo])
    expect(path).not.toMatch(/(utils?|helpers?|common|misc|index)\.ts$/);
  for (const { path, text } of read('test').filter(
    ({ path }) => path !== relative(root, fileURLToPath(import.meta.url)),
  ))
    expect(`${path} ${/\b(describe|test|it)\.(skip|only|todo)\b/.exec(text)?.[0] ?? 'runs completely'}`).toBe(
      `${path} runs completely`,
    );
});

test('only stores/redis/keys.ts says where keys begin, so that REDIS_PREFIX applies to every key and channel', () => {
  const folder = new URL('../../src/stores/redis/', import.meta.url);
  const literals = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && name !== 'keys.ts')
    .filter((name) => /['"`](latchkey:|\{?s:)/.test(readFileSync(new URL(name, folder), 'utf8')));
  expect(literals).toEqual([]);
});

test('only these files read the time of day, and only src/time/elapsed.ts reads the clock for durations', () => {
  const timeOfDay = new Map([
    ['src/deps.ts', 'gives it to whoever needs a point in time'],
    ['src/logger.ts', 'the time of a line'],
    ['src/oauth/oauth-error.ts', 'Retry-After as a date'],
    ['src/stores/memory/rate-limit-store.ts', 'express-rate-limit expects the end of a window as a date'],
    ['src/testing/grants.ts', 'the provider for tests, which is another process in production'],
  ]);
  const using = (pattern: RegExp) => src.filter(({ text }) => pattern.test(text)).map(({ path }) => path);
  expect(using(/\bDate\.now\b|new Date\(\)/).sort()).toEqual([...timeOfDay.keys()]);
  expect(using(/\bperformance\.now\b|\bhrtime\b/)).toEqual(['src/time/elapsed.ts']);
});
