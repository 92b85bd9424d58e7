import { Router } from 'express';
import { createRouteLookup } from '../../src/routes/route-lookup.ts';

const patterns = [
  '/things/special',
  '/things/:id',
  '/things/:id/parts/:part',
  '/things/late', // behind a row that also matches
  '/files/*rest',
  '/files/index',
  '/:kind/things',
  '/*anything',
  '/a/b/c',
  '/a/:b/c',
];
const find = createRouteLookup(patterns.map((path) => ({ path, value: path })));

/** What Express finds with the same patterns, one after another. */
async function findWithExpress(path: string) {
  const found: { readonly value: string; readonly params: unknown }[] = [];
  const router = Router({ caseSensitive: true, strict: true });
  for (const each of patterns)
    router.get(each, (req, _res, next) => {
      found.push({ value: each, params: { ...req.params } });
      next();
    });
  const req = { method: 'GET', url: path } as Parameters<typeof router>[0];
  const error = await new Promise((resolve) => {
    router(req, {} as Parameters<typeof router>[1], resolve);
  });
  return error ? { status: (error as { status?: number }).status } : found;
}

test.each([
  ...['/things/special', '/things/7', '/things/late', '/things/7/parts/8', '/things/', '/things', '/'],
  ...['/files/a', '/files/a/b/c', '/files/index', '/files/', '/files', '/files//a', '//', '//things'],
  ...['/x/things', '/a/b/c', '/a/x/c', '/a/b/c/', '/A/b/c', '/THINGS/special', '/things/special/'],
  ...[
    '/things/%2e%2e',
    '/things/a%2Fb',
    '/things/%E4',
    '/thin%67s/special',
    '/files/%ZZ/x',
    '/files/a%20b/c',
  ],
  ...[
    '/things/a;b',
    '/things/a+b',
    '/constructor',
    '/__proto__',
    '/things/__proto__',
    '/hasOwnProperty/things',
  ],
])(
  '%s is found as Express finds it: the same rows, in the same order, with the same parameters',
  async (path) => {
    const expected = await findWithExpress(path);
    if (!Array.isArray(expected)) expect(() => find(path)).toThrow(expect.objectContaining(expected));
    else expect(find(path).map(({ value, params }) => ({ value, params: { ...params } }))).toEqual(expected);
  },
);

test('of a thousand rows, only those with the same literal beginning are compared', () => {
  let compared = 0;
  const table = Array.from({ length: 1_000 }, (_each, n) => ({
    path: n % 2 ? `/v1/things${n}/:id` : `/v1/things${n}`,
    value: n,
  }));
  const findIn = createRouteLookup(table);
  const { exec } = RegExp.prototype;
  RegExp.prototype.exec = function counted(text: string) {
    compared += 1;
    return exec.call(this, text);
  };
  try {
    expect(findIn('/v1/things999/7')).toEqual([{ value: 999, params: { id: '7' } }]);
    expect(findIn('/v1/things998')).toEqual([{ value: 998, params: {} }]);
    expect(findIn('/v1/none')).toEqual([]);
  } finally {
    RegExp.prototype.exec = exec;
  }
  expect(compared).toBeLessThanOrEqual(2);
});
