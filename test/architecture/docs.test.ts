import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nameFileVariable, secretVariables, variables } from '../../src/config/fields.ts';
import { errorStatuses } from '../../src/errors.ts';
import { flatten } from '../../src/pages/i18n.ts';
import { paths } from '../../src/paths.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const list = (folder: string, ending: string) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending) && !/node_modules/.test(name))
    .map((name) => join(folder, name));

const pages = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...list('docs', '.md'),
  ...list('bench', '.md'),
].map((path) => ({ path, text: read(path) }));
const page = (path: string) => pages.find((each) => each.path === path)!.text;

/** As code hosts make it from a heading. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replace(/\s/g, '-');
const anchorsOf = (text: string) =>
  [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchorOf(heading!.replace(/`/g, '')));

test('every relative link in the documentation leads to a file and a heading', () => {
  const links = pages.flatMap(({ path, text }) =>
    [...text.matchAll(/\]\((?!https?:|mailto:)([^)\s]+)\)/g)].map(([, link]) => ({ path, link: link! })),
  );
  expect(links.length).toBeGreaterThan(50);
  const broken = links.filter(({ path, link }) => {
    const [file = '', anchor] = link.split('#');
    const target = file === '' ? path : relative(root, join(root, dirname(path), file));
    try {
      const text = read(target === '' ? '.' : target);
      return anchor !== undefined && !anchorsOf(text).includes(anchor);
    } catch (error) {
      return (error as NodeJS.ErrnoException).code !== 'EISDIR';
    }
  });
  expect(broken).toEqual([]);
});

test('every setting mentioned in the documentation, docker-compose.yml or the demo exists', () => {
  const texts = [
    ...pages,
    ...['docker-compose.yml', 'demo/demo.env'].map((path) => ({ path, text: read(path) })),
  ];
  const known = new Set<string>([...variables, ...secretVariables.map(nameFileVariable)]);
  const unknown = texts.flatMap(({ path, text }) =>
    [
      ...text.matchAll(
        /(?<![\w<{])(?:OAUTH2|SESSION|REDIS|API|APP|AUTH|AUDIT|CORS|METRICS|SHUTDOWN|TRUST|LOG)_[A-Z_]*[A-Z](?![\w*])/g,
      ),
    ]
      .map(([name]) => name)
      .filter((name) => !known.has(name))
      .map((name) => `${path}: ${name}`),
  );
  expect(unknown).toEqual([]);
});

test('every npm script mentioned in the documentation exists', () => {
  const { scripts } = JSON.parse(read('package.json'));
  const named = pages.flatMap(({ text }) => [...text.matchAll(/npm run ([\w-]+)/g)].map(([, name]) => name!));
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter((name) => !(name in scripts))).toEqual([]);
});

test('docs/http-api.md lists every error code with its status, and no other', () => {
  const rows = [...page('docs/http-api.md').matchAll(/^\| (\d{3}) \| `(\w+)` \|/gm)];
  expect(Object.fromEntries(rows.map(([, status, code]) => [code, Number(status)]))).toEqual(errorStatuses);
});

test('docs/http-api.md lists every path that Latchkey serves', () => {
  const text = page('docs/http-api.md');
  expect(Object.values(paths).filter((path) => !text.includes(path))).toEqual([]);
});

test('every log line quoted in docs/troubleshooting.md is in the source', () => {
  const literals = list('src', '.ts').flatMap((path) =>
    [...read(path).matchAll(/'((?:[^'\\\n]|\\.)*)'|`([^`]*)`/g)].map(
      ([, plain, template]) => plain ?? template!,
    ),
  );
  const patterns = literals.map((each) =>
    each
      .split(/\$\{[^}]*\}/)
      .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
      .join('.*'),
  );
  const quoted = [
    ...page('docs/troubleshooting.md').matchAll(/(?:log|log \(debug\)|cause in the log): `([^`]+)`/g),
  ];
  expect(quoted.length).toBeGreaterThan(15);
  const isWritten = (line: string) =>
    literals.some((each) => each.startsWith(line)) ||
    patterns.some((each) => new RegExp(`^${each}$`).test(line));
  expect(quoted.map(([, line]) => line!).filter((line) => !isWritten(line))).toEqual([]);
});

test('page titles quoted with an error code in docs/troubleshooting.md match the English texts', () => {
  const texts = new Map(flatten(JSON.parse(read('views/texts/en.json'))));
  const quoted = [...page('docs/troubleshooting.md').matchAll(/"([^"]+)" \(`(\w+)`\)/g)];
  expect(quoted.length).toBeGreaterThan(0);
  for (const [, title, code] of quoted) expect(texts.get(`error.${code}.title`)).toBe(title);
});

test('ARCHITECTURE.md lists exactly the files of each module', () => {
  const rows = [...page('ARCHITECTURE.md').matchAll(/^\| `src\/([\w-]+)\/` \|[^|]*\| (.*) \|$/gm)];
  expect(rows.length).toBeGreaterThan(8);
  for (const [, folder, files] of rows) {
    const named = [...files!.matchAll(/`([a-z][\w-]*)`(?!\/)/g)].map(([, name]) => name!);
    const existing = list(`src/${folder}`, '.ts').map((path) => path.replace(/^.*\/|\.ts$/g, ''));
    expect({ folder, files: [...new Set(named)].sort() }).toEqual({
      folder,
      files: [...new Set(existing)].sort(),
    });
  }
});

test('ARCHITECTURE.md and the index of decisions link every decision', () => {
  const decisions = readdirSync(join(root, 'docs/decisions')).filter((name) => /^\d{4}-/.test(name));
  for (const name of decisions) {
    expect(page('ARCHITECTURE.md')).toContain(`docs/decisions/${name}`);
    expect(page('docs/decisions/README.md')).toContain(`(${name})`);
  }
});
