import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** Files of this project, as paths from its root. */
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

/** From the ground up; a file imports only from its own floor or those below. */
const floors = ['ground', 'oauth', 'tokens', 'web', 'routes', 'app', 'main'];
const topFloor: Record<string, string> = { 'src/app.ts': 'app', 'src/deps.ts': 'app', 'src/main.ts': 'main' };
const floorOf = (path: string) =>
  topFloor[path] ?? (path.split('/').length > 2 ? path.split('/')[1]! : 'ground');

test('every file stands on a floor, and looks only down', () => {
  expect(src.length).toBeGreaterThan(20);
  for (const { path, local } of src) {
    expect(floors).toContain(floorOf(path));
    for (const each of local) {
      const isDown = floors.indexOf(floorOf(each)) <= floors.indexOf(floorOf(path));
      expect(`${path} -> ${each}: ${isDown ? 'down' : 'UP'}`).toBe(`${path} -> ${each}: down`);
    }
  }
});

test('no imports go in a circle', () => {
  const imports = new Map(src.map(({ path, local }) => [path, local]));
  const done = new Set<string>();
  const walk = (path: string, trail: readonly string[]): void => {
    expect(trail).not.toContain(path);
    if (done.has(path)) return;
    for (const each of imports.get(path) ?? []) walk(each, [...trail, path]);
    done.add(path);
  };
  for (const { path } of src) walk(path, []);
  expect(done.size).toBe(src.length);
});

test('oauth/ and tokens/ know no Express, and oauth/ no store', () => {
  for (const { path, packages } of src.filter(({ path }) => /^src\/(oauth|tokens)\//.test(path)))
    for (const each of packages)
      expect(`${path} ${each}`).not.toMatch(/ (express|connect-redis|ejs|helmet|pino-http)/);
  for (const { path, packages } of src.filter(({ path }) => path.startsWith('src/oauth/')))
    for (const each of packages) expect(`${path} ${each}`).not.toMatch(/ ioredis/);
});

test('only three files of oauth/ speak to the protocol library', () => {
  const speakers = src.filter(({ packages }) => packages.includes('openid-client')).map(({ path }) => path);
  expect(speakers.sort()).toEqual([
    'src/oauth/challenge.ts',
    'src/oauth/client.ts',
    'src/oauth/oauth-error.ts',
  ]);
});

test('only main.ts touches the process, its environment and its console', () => {
  for (const { path, text } of src.filter(({ path }) => path !== 'src/main.ts'))
    expect(`${path} ${/(?<![\w/-])(process|console)\.\w/.exec(text)?.[0] ?? 'neither'}`).toBe(
      `${path} neither`,
    );
});

test('bench/ imports nothing of src/, demo/ or test/', () => {
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

test('src/ and demo/ share nothing', () => {
  for (const { path, local } of src) for (const each of local) expect(`${path} ${each}`).toMatch(/ src\//);
  for (const { path, local } of demo) for (const each of local) expect(`${path} ${each}`).toMatch(/ demo\//);
});

test('nothing the app needs at run time is a development dependency', () => {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
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
  // ejs is loaded by Express by its name.
  expect(Object.keys(dependencies).filter((each) => !used.has(each))).toEqual(['ejs']);
  expect(Object.keys(devDependencies)).toContain('oidc-provider');
});

test('there is no room without a subject, no barrel, no test that is skipped or alone', () => {
  for (const { path } of [...src, ...demo])
    expect(path).not.toMatch(/(utils?|helpers?|common|misc|index)\.ts$/);
  for (const { path, text } of read('test').filter(
    ({ path }) => path !== relative(root, fileURLToPath(import.meta.url)),
  ))
    expect(`${path} ${/\b(describe|test|it)\.(skip|only|todo)\b/.exec(text)?.[0] ?? 'runs whole'}`).toBe(
      `${path} runs whole`,
    );
});
