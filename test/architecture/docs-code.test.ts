import { checkBlocks, listBlocks, listPages } from '../support/docs-code.ts';

const blocks = listPages().flatMap((page) => listBlocks(page));

test('every code block of the documentation compiles, and names settings, scripts and files that exist', () => {
  expect(blocks.length).toBeGreaterThan(50);
  expect(checkBlocks(blocks)).toEqual([]);
}, 120_000);

const fence = '```';
const page = (info: string, code: string) =>
  listBlocks('docs/page.md', `${fence}${info}\n${code}\n${fence}\n`);

test('wrong scripts are found, with their places', () => {
  const wrong = [
    ['js', 'const n = 1;\nn = 2;'],
    ['js', 'missing();'],
    ['ts', 'export const text: string = 1;'],
    ['ts', 'export const twice = (value) => value * 2;'],
    ['ts file=src/own/routes.ts', "import type { Missing } from '../routes/code-routes.ts';"],
    ['html', '<script type="module">\nconst none = nowhere;\n</script>'],
  ];
  const problems = checkBlocks(wrong.flatMap(([info, code]) => page(info!, code!)));
  expect([...problems].sort()).toEqual([
    "docs/page.md:1 line 1: Cannot find name 'missing'.",
    "docs/page.md:1 line 1: Module '\"../routes/code-routes.ts\"' has no exported member 'Missing'.",
    "docs/page.md:1 line 1: Parameter 'value' implicitly has an 'any' type.",
    "docs/page.md:1 line 1: Type 'number' is not assignable to type 'string'.",
    "docs/page.md:1 line 2: Cannot assign to 'n' because it is a constant.",
    "docs/page.md:1 line 2: Cannot find name 'nowhere'.",
  ]);
}, 60_000);

test.each([
  ['html', '<script src="/auth/assets/missing.js"></script>', 'not in public/: missing.js'],
  ['json', '{ "a": 1, }', 'is not JSON'],
  [
    'json',
    '{ "routes": [{ "path": "/a", "target": "/a/:id", "methods": { "GET": {} } }] }',
    'uses :id, which is not in path',
  ],
  ['sh', 'OAUTH2_SCOPE=openid', 'OAUTH2_SCOPE'],
  ['sh', 'PORT=abc', 'PORT must be a port number'],
  ['sh', 'API_ROUTES_FILE=./missing.json', 'names a file that no block'],
  ['sh', 'npm ci && npm run missing', 'npm script that does not exist: missing'],
  ['sh', 'FOO=1 node ./missing.mjs # comment', 'file that does not exist: ./missing.mjs'],
  ['sh', 'docker compose --profile missing up', 'profile that docker-compose.yml does not have'],
  ['sh', 'missing --help', 'program that is not known: missing'],
  ['nginx', 'server {}', 'cannot be checked: say why'],
  ['nginx unchecked=no', 'server {}', 'does not say why'],
  ['nginx checked-by=test/missing.test.ts', 'server {}', 'names a test that does not exist'],
  ['nginx checked-by=test/unit/sealing.test.ts', 'server {}', 'does not name docs/page.md'],
  ['ts skip=true', '', 'unknown attribute: skip'],
  ['', 'no language', 'has no language'],
])(
  'a wrong block is found: %s %s',
  (info, code, problem) => {
    expect(checkBlocks(page(info, code)).join('\n')).toContain(problem);
  },
  60_000,
);
