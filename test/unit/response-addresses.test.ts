import { jest } from '@jest/globals';
import { createAddressMapper } from '../../src/proxy/response-addresses.ts';

const origin = 'http://api.internal:8080';
const mapAddresses = createAddressMapper([
  { path: '/items', origin, targetPath: '/v1/items' },
  { path: '/items/:id', origin, targetPath: '/v1/items/:id' },
  { path: '/mine/:id', origin, targetPath: '/v1/items/:id' },
  { path: '/files/:owner/*rest', origin, targetPath: '/v2/*rest/of/:owner' },
  { path: '/twice/:id', origin, targetPath: '/v3/:id/copy/:id' },
  { path: '/partial/:a/:b', origin, targetPath: '/v4/:a' },
  { path: '/reports/:id', origin, targetPath: '/v5/:id.json' },
  { path: '/versioned', origin, targetPath: '/v6/x?api-version=2' },
  { path: '/slash', origin, targetPath: '/v7/slash/' },
  { path: '/other', origin: 'https://other.example.com', targetPath: '/base/other' },
]);
const map = (headers: Record<string, string | string[]>, path = '/v1/items?page=1', routePath?: string) => {
  mapAddresses(headers, { origin, path, routePath });
  return headers;
};

test.each([
  ['/v1/items/7', '/api/items/7'],
  ['http://api.internal:8080/v1/items/7', '/api/items/7'],
  ['//api.internal:8080/v1/items/7', '/api/items/7'],
  ['items/7?a=b#c', '/api/items/7?a=b#c'],
  ['?page=2', '/api/items?page=2'],
  ['http://api.internal:8080/v1/items/', '/api/items/'],
  ['/v1/items/7/parts/8', '/api/items/7/parts/8'],
  ['/v1/items/a%2Bb', '/api/items/a%2Bb'],
  ['/v1/items/\u00c5\u00bc', '/api/items/%C5%BC'], // UTF-8 as Node.js and undici represent it
  ['/v1/items/\u00e9', '/api/items/%E9'],
  ['/v2/a/b/of/alice', '/api/files/alice/a/b'],
  ['/v3/7/copy/7', '/api/twice/7'],
  ['/v5/7.json', '/api/reports/7'],
  ['/v6/x?api-version=2', '/api/versioned?api-version=2'],
  ['/v7/slash/', '/api/slash'],
  ['/v7/slash/below', '/api/slash/below'],
  ['https://other.example.com/base/other', '/api/other'],
])('a Location that a route leads to, %s, becomes %s', (location, mapped) => {
  for (const name of ['location', 'content-location', 'operation-location'])
    expect(map({ [name]: location })).toEqual({ [name]: mapped });
});

test.each([
  ['/v1/itemsets'],
  ['/v3/7/copy/8'],
  ['/v4/a'],
  ['https://api.internal:8080/v1/items'],
  ['http://api.internal:8081/v1/items'],
  ['https://elsewhere.example/v1/items/7'],
  ['//elsewhere.example/v1/items'],
  ['/v1/other/../unknown'],
  ['myapp://callback'],
  ['http://['],
  [''],
  [`/v1/items/${'a'.repeat(5_000)}`],
])('a Location that no route leads to stays as it is: %s', (location) => {
  expect(map({ location })).toEqual({ location });
});

test('of two routes to one target, the one of the request gets the address', () => {
  expect(map({ location: '/v1/items/7' }, '/v1/items/6', '/mine/:id')).toEqual({ location: '/api/mine/7' });
});

test('a Location that an API sends twice arrives once', () => {
  expect(map({ location: ['/v1/items/7', '//evil.example'] })).toEqual({ location: '/api/items/7' });
});

test.each([
  ['</v1/items?page=2>; rel="next"', '</api/items?page=2>; rel="next"'],
  [
    '<http://api.internal:8080/v1/items?page=2>; rel=next, <?page=9>; rel="last"',
    '</api/items?page=2>; rel="next", </api/items?page=9>; rel="last"',
  ],
  ['<?a=1,2;3>; rel="prev first"', '</api/items?a=1,2;3>; rel="prev first"'],
  [
    '<?cursor=x>; rel="next"; results="true"; cursor="0:1"',
    '</api/items?cursor=x>; rel="next"; results="true"; cursor="0:1"',
  ],
  ['<https://elsewhere.example/2>; REL=Next', '<https://elsewhere.example/2>; rel="next"'],
  ['</evil.js>; rel=preload; as=script, <?page=2>; rel=next', '</api/items?page=2>; rel="next"'],
  ['<?page=2>; rel=next; anchor="/x"; as=script', '</api/items?page=2>; rel="next"'],
])('of the Link %s, the paging relations remain: %s', (link, remaining) => {
  expect(map({ link })).toEqual({ link: remaining });
  expect(map({ link: link.split(/, (?=<)/) })).toEqual({ link: remaining });
});

test.each([
  ['</evil.css>; rel=stylesheet'],
  ['</evil.js>; rel="next preload"; as=script'],
  ['</evil.js>; rel=preload; rel=next'],
  ['<//evil.example>; rel=preconnect'],
  ['<//evil.example>; rel="dns-prefetch", </sw.js>; rel="serviceworker"'],
  ['</evil.json>; rel="compression-dictionary"'],
  ['</rules.json>; rel=speculationrules'],
  ['</x>; title="; rel=next"'],
  ['</x>'],
  ['</x>; a=\\; rel=next'],
  ['</x>; a="\\"; rel=next'],
  ['nonsense'],
])('no other Link passes: %s', (link) => {
  expect(map({ link })).toEqual({});
});

test('a Link of 16 KB is read in no time', () => {
  for (const link of [
    `<${'a'.repeat(16_000)}`,
    `<>${';'.repeat(16_000)}`,
    `<>;a="${'\\'.repeat(16_000)}`,
    `<>;a${' '.repeat(16_000)}`,
    '<>'.repeat(8_000),
  ]) {
    const startedAt = performance.now();
    map({ link });
    expect(performance.now() - startedAt).toBeLessThan(500);
  }
});

test('of a Link header with thousands of paging links, the first 32 remain', () => {
  const link = Array.from({ length: 2_500 }, (_, index) => `</v1/items?page=${index}>; rel="next"`).join(
    ', ',
  );
  const links = String(map({ link }).link).split(', ');
  expect(links).toHaveLength(32);
  expect(links.at(-1)).toBe('</api/items?page=31>; rel="next"');
});

test('an address is compared only with the targets that begin like it', () => {
  const exec = jest.spyOn(RegExp.prototype, 'exec');
  const rows = Array.from({ length: 1_000 }, (_, index) => ({
    path: `/service-${index}/:id`,
    origin,
    targetPath: `/v1/service-${index}/:id`,
  }));
  const headers = { location: '/v1/service-999/7' };
  const mapAddress = createAddressMapper(rows);
  exec.mockClear();
  mapAddress(headers, { origin, path: '/v1/items' });
  const comparisons = exec.mock.calls.length;
  exec.mockRestore();
  expect(headers).toEqual({ location: '/api/service-999/7' });
  expect(comparisons).toBeLessThan(20);
});
